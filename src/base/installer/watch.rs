//! Judges an installation by its console: progress, and every way in which it goes wrong.
//!
//! Success needs evidence: the installer said that it did its last work, and the kernel said that it
//! powers off. Everything else that ends, or does not, is a failure with a name.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::driver::Driver;

/// So many last lines are shown with a failure.
const SHOWN: usize = 15;

/// A line counts as progress when it is not among so many before it: a system that waits in vain
/// says the same again and again.
const REMEMBERED: usize = 200;

/// Why an installation has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the installer failed: {0}")]
    Failed(String),
    #[error("the installer asks a question, and nobody is there to answer: {0}")]
    Asks(String),
    #[error("nothing new on the console for {}", words(.0))]
    Stalled(Duration),
    #[error("the machine started again instead of powering off when it was installed")]
    Restarts,
    #[error("the machine powered off before the installer had finished")]
    TooEarly,
    #[error("the machine ended without powering off")]
    Ended,
}

impl Trouble {
    /// What would be right.
    pub fn help(&self) -> &'static str {
        match self {
            Trouble::Failed(_) => "the lines below, and the log, say why",
            Trouble::Asks(_) => {
                "the kickstart must leave nothing open; `cmdline` in it makes every question an error"
            }
            Trouble::Stalled(_) => {
                "where that is too short for this host, raise `stall:` in the base's definition"
            }
            Trouble::Restarts => {
                "end the kickstart with `poweroff`, and let no script in it reboot"
            }
            Trouble::TooEarly => "let no script of the kickstart power off",
            Trouble::Ended => "the kernel crashed, or somebody ended the machine",
        }
    }
}

fn words(limit: &Duration) -> String {
    match limit.as_secs() {
        seconds if seconds % 60 == 0 && seconds > 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// What one installation has shown so far.
#[derive(Debug)]
pub(super) struct Watch {
    driver: &'static Driver,
    stall: Duration,
    starts: u32,
    finished: bool,
    powers_off: bool,
    trouble: Option<Trouble>,
    recent: VecDeque<String>,
    last_new: Instant,
}

impl Watch {
    pub fn new(driver: &'static Driver, stall: Duration, now: Instant) -> Self {
        Watch {
            driver,
            stall,
            starts: 0,
            finished: false,
            powers_off: false,
            trouble: None,
            recent: VecDeque::new(),
            last_new: now,
        }
    }

    /// Takes a line; gives it back where it is a word of progress.
    pub fn line(&mut self, line: &str, now: Instant) -> Option<String> {
        let text = without_time(line);
        self.remember(text, now);
        self.starts += u32::from(self.driver.starts.matches(text));
        self.finished |= self.driver.finished.matches(text);
        self.powers_off |= self.driver.powers_off.matches(text);
        self.judge(text);
        self.driver.progress.matches(text).then(|| text.to_owned())
    }

    /// Takes what stands on the line that has no end yet: a question has none.
    pub fn unfinished(&mut self, line: &str, now: Instant) {
        let text = without_time(line);
        if !text.is_empty() && self.recent.back().is_none_or(|last| last != text) {
            self.remember(text, now);
        }
        if self.driver.asks.matches(text) {
            self.note(Trouble::Asks(text.to_owned()));
        }
    }

    /// What has gone wrong by now.
    pub fn trouble(&self, now: Instant) -> Option<Trouble> {
        let quiet = now.saturating_duration_since(self.last_new);
        self.trouble.clone().or((quiet >= self.stall).then_some(Trouble::Stalled(self.stall)))
    }

    /// The machine has ended: whether it is installed.
    pub fn ended(&self) -> Result<(), Trouble> {
        match (&self.trouble, self.powers_off, self.finished) {
            (Some(trouble), _, _) => Err(trouble.clone()),
            (None, true, true) => Ok(()),
            (None, true, false) => Err(Trouble::TooEarly),
            (None, false, _) => Err(Trouble::Ended),
        }
    }

    /// The last lines that were not all the same.
    pub fn last_lines(&self) -> Vec<String> {
        let skipped = self.recent.len().saturating_sub(SHOWN);
        self.recent.iter().skip(skipped).cloned().collect()
    }

    fn judge(&mut self, text: &str) {
        if self.driver.failed.matches(text) {
            self.note(Trouble::Failed(text.to_owned()));
        }
        if self.driver.asks.matches(text) {
            self.note(Trouble::Asks(text.to_owned()));
        }
        if self.driver.restarts.matches(text) || self.starts > 1 {
            self.note(Trouble::Restarts);
        }
    }

    /// The first trouble is the cause of all others.
    fn note(&mut self, trouble: Trouble) {
        self.trouble.get_or_insert(trouble);
    }

    fn remember(&mut self, text: &str, now: Instant) {
        if self.recent.iter().any(|known| known == text) {
            return;
        }
        self.last_new = now;
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(text.to_owned());
    }
}

/// A line of the kernel's without its time stamp: `[   12.345678] text`.
fn without_time(line: &str) -> &str {
    let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match stamp {
        Some((time, text)) if time.trim().parse::<f64>().is_ok() => text.trim(),
        _ => line.trim(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    struct Seen {
        watch: Watch,
        begun: Instant,
    }

    impl Seen {
        fn new() -> Seen {
            let begun = Instant::now();
            Seen { watch: Watch::new(Driver::named("anaconda").unwrap(), STALL, begun), begun }
        }

        fn after(lines: &[&str]) -> Seen {
            let mut seen = Seen::new();
            lines.iter().for_each(|line| drop(seen.line(line, 0)));
            seen
        }

        fn line(&mut self, line: &str, second: u64) -> Option<String> {
            self.watch.line(line, self.begun + Duration::from_secs(second))
        }

        fn trouble(&self, second: u64) -> Option<Trouble> {
            self.watch.trouble(self.begun + Duration::from_secs(second))
        }
    }

    const GOOD: [&str; 6] = [
        "[    0.000000] Linux version 3.10.0-1160.el7.x86_64 (mockbuild@kbuilder)",
        "Starting installer, one moment...",
        "Installing libgcc (1/342)",
        "Performing post-installation setup tasks",
        "Running post-installation scripts",
        "[  731.500000] Power down.",
    ];

    #[test]
    fn a_whole_installation_is_told_by_its_progress_and_its_end() {
        let mut seen = Seen::new();
        let said: Vec<String> = GOOD.iter().filter_map(|line| seen.line(line, 1)).collect();
        assert_eq!(said, GOOD[1..5]);
        assert_eq!(seen.trouble(2), None);
        assert_eq!(seen.watch.ended(), Ok(()));
        // A newer kernel says it in other words.
        let newer = [&GOOD[..5], &["[   31.5] reboot: Power down"]].concat();
        assert_eq!(Seen::after(&newer).watch.ended(), Ok(()));
    }

    #[test]
    fn without_the_last_work_or_the_power_off_nothing_is_installed() {
        let early = [&GOOD[..4], &GOOD[5..]].concat();
        assert_eq!(Seen::after(&early).watch.ended(), Err(Trouble::TooEarly));
        assert_eq!(Seen::after(&GOOD[..5]).watch.ended(), Err(Trouble::Ended));
        let rebooted = [&GOOD[..5], &["[  731.5] reboot: Restarting system"]].concat();
        assert_eq!(Seen::after(&rebooted).watch.ended(), Err(Trouble::Restarts));
        let again = [&GOOD[..5], &GOOD[..1]].concat();
        assert_eq!(Seen::after(&again).trouble(0), Some(Trouble::Restarts));
    }

    #[test]
    fn the_first_failure_is_the_one_that_counts() {
        for line in [
            "Traceback (most recent call last):",
            "An unknown error has occured, look at the /tmp/anaconda-tb* file(s) for",
            "The installation was stopped due to an error which occurred while running in",
            "[    1.5] Kernel panic - not syncing: VFS: Unable to mount root fs",
        ] {
            let seen = Seen::after(&[GOOD[0], line, "Press ENTER to continue", GOOD[4], GOOD[5]]);
            let trouble = seen.trouble(0).unwrap();
            assert!(matches!(&trouble, Trouble::Failed(text) if line.ends_with(text)), "{line}");
            assert_eq!(seen.watch.ended(), Err(trouble));
        }
    }

    #[test]
    fn a_question_is_seen_before_its_line_ends() {
        for question in [
            "Please make your choice from above ['q' to quit | 'b' to begin installation |",
            "  Please respond 'yes' or 'no': ",
            "Press ENTER to continue:",
            "dracut:/# ",
            "localhost login: ",
        ] {
            let mut seen = Seen::after(&GOOD[..2]);
            seen.watch.unfinished(question, seen.begun);
            let asked = Trouble::Asks(question.trim().to_owned());
            assert_eq!(seen.trouble(0), Some(asked));
        }
        let harmless = ["Installing passwd (3/9)", "Creating users", "bash-4.2 is a shell"];
        assert_eq!(Seen::after(&harmless).trouble(0), None);
    }

    #[test]
    fn only_what_is_new_counts_against_a_stall() {
        let mut seen = Seen::new();
        seen.line("[    1.0] dracut-initqueue[9]: Warning: timeout - starting scripts", 1);
        seen.line("[   31.0] dracut-initqueue[9]: Warning: timeout - starting scripts", 31);
        assert_eq!(seen.trouble(60), None);
        assert_eq!(seen.trouble(61), Some(Trouble::Stalled(STALL)));
        // Dots on one line are progress.
        seen.watch.unfinished("..", seen.begun + Duration::from_secs(61));
        assert_eq!(seen.trouble(120), None);
        assert_eq!(seen.trouble(121).unwrap().to_string(), "nothing new on the console for 1 min");
    }

    #[test]
    fn only_time_stamps_are_cut_off() {
        assert_eq!(without_time("[    0.5] [drm] on"), "[drm] on");
        assert_eq!(without_time("[anaconda] 1:main*"), "[anaconda] 1:main*");
        assert_eq!(without_time("[ OK ] Started"), "[ OK ] Started");
    }
}
