// SPDX-License-Identifier: GPL-2.0

//! Policies for boards, of what their kernels do not know: files that are part of this program.

use crate::{
    failure::{Failure, Result},
    policy::from_toml,
    table::{Align, Table},
    view::{Recipe as View, Recipes},
};
use std::{fs, path::Path};

/// A policy for a board.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    /// What the device tree of such a board is compatible with.
    compatible: &'static [&'static str],
    pub(crate) toml: &'static str,
}

/// All of them.
const RECIPES: [Recipe; 4] = [
    Recipe {
        name: "allwinner",
        compatible: &[
            "allwinner,sun50i-a64",
            "allwinner,sun50i-h5",
            "allwinner,sun50i-h6",
            "allwinner,sun50i-h616",
        ],
        toml: include_str!("../recipes/allwinner.toml"),
    },
    Recipe {
        name: "imx8m",
        compatible: &["fsl,imx8mm", "fsl,imx8mn", "fsl,imx8mp", "fsl,imx8mq"],
        toml: include_str!("../recipes/imx8m.toml"),
    },
    Recipe {
        name: "raspberry-pi-4",
        compatible: &["brcm,bcm2711"],
        toml: include_str!("../recipes/raspberry-pi-4.toml"),
    },
    Recipe {
        name: "rk3588",
        compatible: &["rockchip,rk3588", "rockchip,rk3588s"],
        toml: include_str!("../recipes/rk3588.toml"),
    },
];

impl Recipe {
    /// The names of all.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        RECIPES.iter().map(|recipe| recipe.name)
    }

    /// Returns the recipe of that name; without one, that of this machine.
    pub(crate) fn of(name: Option<&str>, procfs: &Path) -> Result<&'static Self> {
        let machine = Machine::new(procfs);
        let mut recipes = RECIPES.iter();
        recipes
            .find(|recipe| name.map_or_else(|| machine.is_for(recipe), |name| name == recipe.name))
            .ok_or_else(|| {
                Failure::new("there is no recipe for this machine")
                    .hint("`cenalloc policy recipes` lists all: name one.")
            })
    }

    /// Returns how many entries it has.
    fn entries(&self) -> Result<usize> {
        Ok(from_toml(self.toml)?.len())
    }
}

/// What the device tree of this machine says that it is, each word with a NUL behind it; empty
/// without one.
struct Machine(Vec<u8>);

impl Machine {
    fn new(procfs: &Path) -> Self {
        Self(fs::read(procfs.join("device-tree/compatible")).unwrap_or_default())
    }

    fn is_for(&self, recipe: &Recipe) -> bool {
        let mut words = self.0.split(|byte| *byte == 0);
        words.any(|word| recipe.compatible.iter().any(|name| name.as_bytes() == word))
    }
}

/// Returns all recipes, and which is for this machine.
pub(crate) fn view(procfs: &Path) -> Result<Recipes> {
    let machine = Machine::new(procfs);
    let recipes = RECIPES.iter().map(|recipe| {
        Ok(View {
            name: recipe.name,
            compatible: recipe.compatible,
            entries: recipe.entries()?,
            here: machine.is_for(recipe),
        })
    });
    Ok(Recipes {
        recipes: recipes.collect::<Result<_>>()?,
    })
}

/// Returns them as a table.
pub(crate) fn text(recipes: &Recipes) -> String {
    let mut table = Table::new(&[
        ("BOARD", Align::Left),
        ("ENTRIES", Align::Right),
        ("HERE", Align::Left),
        ("COMPATIBLE WITH", Align::Left),
    ]);
    for recipe in &recipes.recipes {
        table.row(vec![
            recipe.name.to_owned(),
            recipe.entries.to_string(),
            if recipe.here { "yes" } else { "no" }.to_owned(),
            recipe.compatible.join(" "),
        ]);
    }
    table.to_string()
}
