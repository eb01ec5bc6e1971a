//! Options that several formats share.

use outflow_sdk::JsonSchema;
use serde::{Deserialize, Serialize};

/// How decimals are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Decimals {
    /// As strings: exact in every consumer.
    #[default]
    String,
    /// As JSON numbers with all their digits. Many consumers read such numbers as doubles and lose digits.
    /// `NaN` and infinities stay strings.
    Number,
}
