//! Values as JSON text.

mod escape;
mod json;
mod number;
mod scalar;
mod time;

pub(crate) use escape::{Escaped, write_escaped, write_string};
pub(crate) use json::JsonText;
pub(crate) use number::{is_json_number, write_f32, write_f64, write_integer};
pub(crate) use scalar::{write_base64, write_bits, write_bool, write_display, write_uuid};
pub(crate) use time::{write_date, write_date_time, write_timestamp};
