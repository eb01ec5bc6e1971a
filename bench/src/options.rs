//! The command line of a benchmark.

use crate::Result;

/// How much to run. `cargo bench` measures; any other call, such as `cargo test --benches`, only checks the contents.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows of one run.
    pub rows: u64,
    /// How often each run is repeated; the contenders take turns.
    pub rounds: usize,
}

impl Options {
    /// Reads `--rows N` and `--rounds N`; `measure` holds when they are not given.
    ///
    /// # Errors
    /// When an argument is unknown or no number.
    pub fn from_args(measure: Self, check: Self) -> Result<Self> {
        Self::parse(std::env::args().skip(1).collect(), measure, check)
    }

    fn parse(args: Vec<String>, measure: Self, check: Self) -> Result<Self> {
        let mut options = if args.iter().any(|arg| arg == "--bench") { measure } else { check };
        let mut args = args.into_iter().filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let mut number = || args.next().ok_or_else(|| format!("{arg} needs a number"));
            match arg.as_str() {
                "--rows" => options.rows = number()?.parse()?,
                "--rounds" => options.rounds = number()?.parse()?,
                _ => return Err(format!("unknown argument {arg}; known are --rows N and --rounds N").into()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        let (measure, check) = (Options { rows: 1000, rounds: 9 }, Options { rows: 10, rounds: 1 });
        Options::parse(args.iter().map(ToString::to_string).collect(), measure, check)
    }

    #[test]
    fn only_cargo_bench_measures() {
        assert_eq!(parse(&["--bench"]).unwrap().rows, 1000);
        assert_eq!(parse(&[]).unwrap().rows, 10);
        assert_eq!(parse(&["--rounds", "3", "--bench"]).unwrap().rounds, 3);
        assert!(parse(&["--rows"]).is_err());
        assert!(parse(&["--fast", "1"]).is_err());
    }
}
