//! What a kickstart must be so that a machine can be installed by it with nobody watching: the
//! rules that hold for an installer, where a bootstrap has others.

use crate::kickstart::{Command, Judge, Kickstart, Reading};
use crate::recipe::{Fault, Faults, Place};

/// What Anaconda would refuse, and what would keep the installation from its end. Commands that only
/// a bootstrap does not know are fine here.
pub fn check(reading: Reading, text: &str, file: &str) -> Result<Kickstart, Faults> {
    let of_anaconda = reading.findings.into_iter().filter(|f| f.judge == Judge::Anaconda);
    let mut faults: Vec<Fault> = of_anaconda.map(|finding| finding.fault).collect();
    let place = |line: u32| Place { file: file.into(), line, column: 1 };
    let shown = |line: u32| {
        text.lines()
            .nth((line as usize).saturating_sub(1))
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    };
    let mut fault = |line: u32, message: &str, help: &str| {
        let (message, help) = (message.to_owned(), Some(help.to_owned()));
        faults.push(Fault { at: place(line), text: shown(line), message, help });
    };
    if let Some((line, message)) = wrong_end(&reading.kickstart) {
        fault(line, message, "end it with `poweroff`: that is how labbuild knows the end");
    }
    for line in included(text) {
        let help = "the installer gets one file; `{% include \"NAME\" %}` takes the other one in";
        fault(line, "no file but this one reaches the installer", help);
    }
    faults.sort_by_key(|fault| fault.at.line);
    if faults.is_empty() { Ok(reading.kickstart) } else { Err(Faults(faults)) }
}

/// The line of a wrong end, or the first where there is none at all.
fn wrong_end(kickstart: &Kickstart) -> Option<(u32, &'static str)> {
    let mut ends = kickstart.commands.iter().filter(|command| {
        matches!(
            command.value,
            Command::Poweroff { .. } | Command::Reboot { .. } | Command::Halt { .. }
        )
    });
    match ends.next_back().map(|end| (end.line, &end.value)) {
        Some((_, Command::Poweroff { .. })) => None,
        Some((line, Command::Reboot { .. })) => Some((line, "the machine would install again")),
        Some((line, _)) => Some((line, "the machine would stand still and never end")),
        None => Some((1, "the kickstart does not say how the installation ends")),
    }
}

/// Lines that take in a file which is not on the volume; what a `%pre` script writes has an
/// absolute path.
fn included(text: &str) -> Vec<u32> {
    let takes_in = |line: &str| {
        let mut words = line.split_whitespace();
        let command = words.next().is_some_and(|word| matches!(word, "%include" | "%ksappend"));
        command && words.next().is_none_or(|path| !path.starts_with('/') && !path.contains("://"))
    };
    (1..).zip(text.lines()).filter(|(_, line)| takes_in(line)).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kickstart;

    fn verdict(text: &str) -> Result<(), String> {
        let reading = kickstart::read(text, "a.ks", &mut |_| Ok(String::new()));
        check(reading, text, "a.ks").map(drop).map_err(|faults| faults.to_string())
    }

    #[test]
    fn an_end_other_than_power_off_is_refused() {
        assert_eq!(verdict("cmdline\npoweroff\n"), Ok(()));
        assert_eq!(verdict("cmdline\nshutdown --eject\n"), Ok(()));
        let said = ["cmdline\n", "cmdline\nreboot\n", "poweroff\nhalt\n"]
            .map(|text| verdict(text).unwrap_err());
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_bootstrap_knows_less_than_anaconda() {
        assert_eq!(verdict("logvol / --vgname=vg --name=root --size=1\npoweroff\n"), Ok(()));
        assert!(verdict("lang\npoweroff\n").is_err());
    }

    #[test]
    fn other_files_are_not_on_the_volume() {
        let text = "poweroff\n%include part.ks\n%include /tmp/made-by-pre.ks\n";
        let said = verdict(text).unwrap_err();
        assert!(said.contains("a.ks:2") && !said.contains("a.ks:3"), "{said}");
    }
}
