//! `cargo xtask torture`: the real server, in rounds of everything that can be done to it; `power-loss`: every folder that a
//! recorded run of it may leave when the power is lost. `kills`, `failing-disk` and `torture-updates`: killed again and again
//! with small data and many writers; on a disk that fails or is full; killed while an update of many dependants runs.
//! `cargo xtask model`: the whole of its HTTP API, played with at random beside a model. Each is the long form of a test of
//! the server, optimised.

use std::process::{Command, ExitCode};

/// The long form of a test.
pub struct Torture {
    command: &'static str,
    /// The test, by its name.
    test: &'static str,
    /// Is it no test of the suite?
    apart: bool,
    /// What can be set: the option, the variable that the test reads, how much it is without it (nothing, where the test
    /// knows), what it says.
    options: &'static [(&'static str, &'static str, &'static str, &'static str)],
}

const SEED: (&str, &str, &str, &str) = ("--seed", "COROLLARY_SEED", "", "repeats the choices of a run");

/// `servers_survive_torture_for_minutes` (`crates/server/tests/it/torture/mod.rs`).
pub const TORTURE: Torture = Torture {
    command: "torture",
    test: "servers_survive_torture_for_minutes",
    apart: true,
    options: &[("--minutes", "COROLLARY_TORTURE_MINUTES", "10", "how long rounds are begun"), SEED],
};

/// `what_was_acknowledged_survives_a_loss_of_power` (`crates/server/tests/it/power_loss/mod.rs`).
pub const POWER_LOSS: Torture = Torture {
    command: "power-loss",
    test: "what_was_acknowledged_survives_a_loss_of_power",
    apart: false,
    options: &[
        (
            "--variants",
            "COROLLARY_POWER_VARIANTS",
            "4",
            "random folders at each moment, beside two that always are",
        ),
        ("--lives", "COROLLARY_POWER_LIVES", "6", "how often the server is stopped or killed in the run"),
        ("--writes", "COROLLARY_POWER_WRITES", "100", "writes acknowledged in each of these, about"),
        ("--every", "COROLLARY_POWER_EVERY", "1", "of so many moments one is looked at"),
        SEED,
    ],
};

/// `what_was_acknowledged_survives_being_killed` (`crates/server/tests/it/crash/mod.rs`).
pub const KILLS: Torture = Torture {
    command: "kills",
    test: "what_was_acknowledged_survives_being_killed",
    apart: false,
    options: &[("--rounds", "COROLLARY_CRASH_ROUNDS", "10000", "how often the server is killed")],
};

/// `a_disk_that_fails_costs_nothing_that_was_acknowledged` (`crates/server/tests/it/crash/disk.rs`).
pub const DISK: Torture = Torture {
    command: "failing-disk",
    test: "a_disk_that_fails_costs_nothing_that_was_acknowledged",
    apart: false,
    options: &[("--rounds", "COROLLARY_DISK_ROUNDS", "2000", "how often the disk fails")],
};

/// `an_update_survives_being_killed` (`crates/server/tests/it/updates.rs`).
pub const UPDATES: Torture = Torture {
    command: "torture-updates",
    test: "an_update_survives_being_killed",
    apart: false,
    options: &[
        ("--leaves", "COROLLARY_LEAVES", "1000000", "dependants of one hub"),
        ("--kills", "COROLLARY_KILLS", "50", "how often the server is killed"),
    ],
};

/// `the_server_replies_as_the_model_does` (`crates/server/tests/it/model`).
pub const MODEL: Torture = Torture {
    command: "model",
    test: "the_server_replies_as_the_model_does",
    apart: false,
    options: &[
        ("--seeds", "COROLLARY_MODEL_SEEDS", "100", "how many servers are played with"),
        ("--steps", "COROLLARY_MODEL_STEPS", "2000", "random requests to each"),
    ],
};

impl Torture {
    /// Builds the server, optimised, and runs the test.
    pub fn run(&self, arguments: &[String]) -> ExitCode {
        let mut settings: Vec<(&str, &str)> =
            self.options.iter().map(|(_, name, n, _)| (*name, *n)).collect();
        for pair in arguments.chunks(2) {
            let at = self.options.iter().position(|(option, ..)| *option == pair[0]);
            match (at, pair.get(1)) {
                (Some(at), Some(value)) if value.parse::<u64>().is_ok() => settings[at].1 = value,
                _ => {
                    eprintln!("{}", self.usage());
                    return ExitCode::from(2);
                }
            }
        }
        let test = ["test", "--release", "-p", "corollary-server", "--test", "it", "--", "--nocapture"];
        settings.retain(|(_, value)| !value.is_empty());
        let apart = self.apart.then_some("--ignored");
        match Command::new(env!("CARGO")).args(test).arg(self.test).args(apart).envs(settings).status() {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("cargo could not be started: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn usage(&self) -> String {
        let mut usage = format!("usage: cargo xtask {} [options]\n\n", self.command);
        for (option, _, default, what) in self.options {
            let default = if default.is_empty() { String::new() } else { format!(" ({default})") };
            usage += &format!("  {option} N  {what}{default}\n");
        }
        usage + "\nCOROLLARY_SEED repeats a run."
    }
}
