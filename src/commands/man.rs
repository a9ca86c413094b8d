//! `labbuild man`: the manual pages, made from the declaration of the command line.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use serde_json::json;

use crate::cli::{Cli, ManArgs};
use crate::commands::{Context, Failure};
use crate::host::files;
use crate::ui::text::clean;

/// Prints the first page, or writes all of them into a folder.
pub fn run(ctx: &Context, args: &ManArgs) -> Result<(), Failure> {
    let root = root();
    let Some(dir) = &args.dir else {
        let (_, page) = page(root)?;
        ctx.screen.print(&String::from_utf8_lossy(&page));
        return Ok(());
    };
    files::create_dir(dir)?;
    let mut written = Vec::new();
    for command in all(root) {
        written.push(write(dir, command)?);
    }
    let text = format!("{} pages in {}", written.len(), clean(&dir.display().to_string()));
    ctx.screen.result(&text, json!({ "dir": dir, "pages": written }));
    Ok(())
}

/// The declaration with everything filled in.
fn root() -> clap::Command {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    root
}

/// The command and every command below it that is not hidden.
fn all(command: clap::Command) -> Vec<clap::Command> {
    let shown = |c: &&clap::Command| !c.is_hide_set();
    let below: Vec<_> = command.get_subcommands().filter(shown).cloned().flat_map(all).collect();
    std::iter::once(command).chain(below).collect()
}

fn write(dir: &Path, command: clap::Command) -> Result<String, Failure> {
    let (name, page) = page(command)?;
    let file = dir.join(&name);
    files::write_for_user(&file, page.as_ref())?;
    Ok(name)
}

/// File name and text of a page.
fn page(command: clap::Command) -> Result<(String, Vec<u8>), Failure> {
    let below = command.get_after_help().map(ToString::to_string);
    let extra = below.map(|text| section(&text)).unwrap_or_default();
    let man = clap_mangen::Man::new(command);
    let mut text = Vec::new();
    render(&man, &extra, &mut text).map_err(Failure::failed)?;
    Ok((man.get_filename(), text))
}

fn render(man: &clap_mangen::Man, extra: &str, out: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let first = man.get_filename() == "labbuild.1";
    if first {
        man.render_subcommands_section(out)?;
    }
    out.write_all(extra.as_bytes())?;
    // Only the program has a version; asking a subcommand for its own is a panic there.
    if first { man.render_version_section(out) } else { Ok(()) }
}

/// Examples or exit codes, which stand below the help, as a section in which lines stay lines.
fn section(below: &str) -> String {
    let (heading, body) = below.split_once('\n').unwrap_or((below, ""));
    let heading = heading.trim_end_matches(':').to_uppercase();
    let body: String = body.lines().map(|l| format!("\\&{}\n", plain(l))).collect();
    format!(".SH \"{heading}\"\n.nf\n{body}.fi\n")
}

/// Text that roff prints as it stands.
fn plain(line: &str) -> String {
    line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_the_exit_codes_are_on_the_first() {
        let pages: Vec<_> = all(root()).into_iter().map(|c| page(c).unwrap()).collect();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"labbuild.1") && names.contains(&"labbuild-up.1"), "{names:?}");
        assert!(!names.iter().any(|n| n.contains("internal")), "{names:?}");
        assert!(String::from_utf8_lossy(&pages[0].1).contains("130  interrupted"));
        assert_eq!(plain("a'b -c \\d"), "a\\(aqb \\-c \\ed");
    }
}
