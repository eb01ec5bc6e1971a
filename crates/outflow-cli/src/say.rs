//! Printing that a closed pipe does not turn into a panic.

/// Prints a line on stdout.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        // Whoever closed the pipe does not want to read it.
        let _ = writeln!(std::io::stdout().lock(), $($part)*);
    }};
}

/// Prints a line on stderr.
macro_rules! tell {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($part)*);
    }};
}

pub(crate) use {say, tell};
