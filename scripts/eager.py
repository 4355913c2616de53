#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Finds in Rust files what is built before it is known whether it is wanted: a value in
# the argument of bool::then_some(), Option::ok_or() and the like. Where it has a Drop,
# as guards have, what nobody took is given back. The form with a closure, such as
# bool::then(), builds it when it is wanted. No lint looks at constructors so.
#
# For check.py, and as a program, which prints what it finds and then ends with 1.
#
# usage: scripts/eager.py FILE...

import re
import sys

METHOD = re.compile(r'\.\s*(then_some|ok_or|unwrap_or|map_or|and|or|xor|get_or_insert|or_insert)'
                    r'\s*\(')
# What an argument is not to have: a call of anything, with or without types, or a structure.
BUILT = re.compile(r'\b((?:\w+::)*\w+)(?:::<[^()]*>)?\s*\(|((?:\w+::)*[A-Z]\w*)\s*\{')
# Calls that build nothing with a Drop; clippy asks for the short form of constructors there.
PLAIN = {'Refusal::new', 'Some', 'Ok', 'Err', 'ptr::null', 'ptr::null_mut'}
# Comments, texts and characters, whose parentheses count for nothing.
SILENT = re.compile(r'//[^\n]*|/\*.*?\*/|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\'', re.S)


def silenced(text):
    """The text with blanks for what is silent; lines stay what they are."""
    return SILENT.sub(lambda match: re.sub(r'[^\n]', ' ', match[0]), text)


def argument(text, start):
    """The first argument of a call whose parenthesis ends at START."""
    depth = 0
    for end in range(start, len(text)):
        if text[end] in '([{':
            depth += 1
        elif text[end] in ')]}':
            depth -= 1
        if depth < 0 or depth == 0 and text[end] == ',':
            return text[start:end]
    return text[start:]


def eager(text):
    """Line, method and argument of each value that is built too early."""
    quiet = silenced(text)
    for match in METHOD.finditer(quiet):
        inside = argument(quiet, match.end())
        calls = (built[1] or built[2] for built in BUILT.finditer(inside))
        if any(call not in PLAIN for call in calls):
            yield quiet.count('\n', 0, match.start()) + 1, match[1], ' '.join(inside.split())


# What has to be found, a form a line, and what has not.
BAD = '''
unsafe { c::cenalloc_module_get(self.0) }.then_some(Kept(self))
found.ok_or(Guard { raw })
found.unwrap_or(Guard::new(raw, (1, 2)))
found.map_or(Some(Lease::<T>::of(entry)), |it| it)
found.or(Some(self.lock()))
found .and ( table::map(c')', ")") )
'''
GOOD = '''
found.ok_or(ENOMEM).or(other)
found.ok_or(Refusal::new(EINVAL, "has ) and Kept(self)"))
found.map_or(ptr::null_mut(), |it| Kept(it))
is_there.then(|| Kept(self)).unwrap_or(&Needs::NONE)
left.checked_sub(1).map_or(left + 1, |here| here.min(left))
found.ok_or(ENOMEM) // not .then_some(Kept(self))
'''


def check(files, top='.'):
    """What is wrong in files below a directory, in lines to be shown."""
    missed = [line for line in BAD.split('\n') if line and not list(eager(line))]
    missed += [line for line in GOOD.split('\n') if list(eager(line))]
    found = [f'eager.py does not judge this right: {line}' for line in missed]
    for name in files:
        with open(f'{top}/{name}', encoding='utf-8') as f:
            found += [f'{name}:{line}: {method}({value}) builds its argument in any case'
                      for line, method, value in eager(f.read())]
    return found


def main():
    found = check(sys.argv[1:])
    print('\n'.join(found), end='\n' if found else '')
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    main()
