// SPDX-License-Identifier: GPL-2.0

//! Tests of the constraint model.

#![forbid(unsafe_code)]

mod fit;
mod meet;
mod needs;
mod oracle;
mod refusal;
mod segments;
mod strategy;
mod values;
