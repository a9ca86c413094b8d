//! The command line, declared: every command, flag and example. What a command does is in
//! `commands`, one file each.

mod variables;

pub use variables::Variables;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::ui::Color;

const EXIT_CODES: &str = "\
Exit status:
  0    done
  1    what was asked for failed: a step, a check, a comparison
  2    wrong usage, or an invalid recipe, kickstart or image definition
  3    this machine lacks something (`labbuild doctor` says what)
  4    another labbuild holds what is needed, or something of the same name is in the way
  130  interrupted (Ctrl-C, SIGTERM)
exec and ssh end with the exit status of the command that they ran.";

/// Builds lab environments out of virtual machines: the same on every boot.
#[derive(Debug, Parser)]
#[command(name = "labbuild", version, after_help = EXIT_CODES, arg_required_else_help = true)]
#[command(max_term_width = 100, subcommand_required = true)]
pub struct Cli {
    /// Flags that every command knows.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command knows.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// Where layers, images and downloads live [default: $XDG_DATA_HOME/labbuild]
    #[arg(long, global = true, value_name = "DIR", env = "LABBUILD_STORE")]
    #[arg(hide_env_values = true, help_heading = "Global options", value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
    /// Use this libvirtd instead of one of the lab's own
    #[arg(long, global = true, value_name = "URI", env = "LABBUILD_CONNECT")]
    #[arg(hide_env_values = true, help_heading = "Global options")]
    pub connect: Option<String>,
    /// How guests are run: hardware acceleration, emulation, or whichever works
    #[arg(long, global = true, value_name = "WHICH", default_value = "auto")]
    #[arg(help_heading = "Global options")]
    pub accel: Accel,
    /// Events, results and errors as JSON on standard output, one object per line
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Only warnings, errors and results
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Also the output of every step; twice: every phase of long work
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    #[arg(help_heading = "Global options")]
    pub verbose: u8,
    /// When to use colour (NO_COLOR is respected)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "Global options")]
    pub color: Color,
}

/// How guests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where the CPU has VT-x or SVM and /dev/kvm can be used, else TCG
    Auto,
    /// Hardware acceleration
    Kvm,
    /// Emulation
    Tcg,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build what is not stored yet and start the lab
    Up(UpArgs),
    /// Stop labs; what is stored stays
    Down(DownArgs),
    /// Show labs and their machines
    Status(StatusArgs),
    /// Run a command in a machine through the guest agent
    Exec(ExecArgs),
    /// Log in to a machine over ssh
    Ssh(SshArgs),
    /// Connect the terminal to a machine's serial console
    Console(MachineArgs),
    /// Print what a machine wrote to its serial console
    Logs(LogsArgs),
    /// Print the libvirt URI of a running lab
    Uri(UriArgs),
    /// Show the stages, which are stored, and why the first that is not is not
    Plan(PlanArgs),
    /// Read recipes and report every fault in them
    Validate(ValidateArgs),
    /// Print the JSON Schema of recipe files
    Schema(SchemaArgs),
    /// Draw a lab's machines, networks and addresses as SVG
    Graph(GraphArgs),
    /// Build a recipe and seal its machines into images
    Build(BuildArgs),
    /// List the images in the store
    Images(ImagesArgs),
    /// Copy images and their manifest into a folder
    Export(ExportArgs),
    /// Boot fresh copies of the images and compare what they are
    Verify(VerifyArgs),
    /// Free what no recipe and no lab uses any more
    Gc(GcArgs),
    /// Check that this machine has all that is needed
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print or write the manual pages
    Man(ManArgs),
    /// What labbuild starts itself with
    #[command(hide = true)]
    Internal(InternalArgs),
}

/// A recipe and how it is read.
#[derive(Debug, Clone, Args)]
pub struct RecipeArgs {
    /// Folder of a recipe, or its lab.yaml
    #[arg(value_name = "RECIPE", value_hint = ValueHint::AnyPath)]
    pub recipe: PathBuf,
    /// Variables of the recipe.
    #[command(flatten)]
    pub variables: Variables,
}

/// Which stages.
#[derive(Debug, Clone, Default, Args)]
pub struct StageRange {
    /// Stop after this stage
    #[arg(long, value_name = "STAGE")]
    pub to: Option<String>,
    /// Throw away what is stored of this stage and all after it
    #[arg(long, value_name = "STAGE")]
    pub from: Option<String>,
}

/// `labbuild up`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  labbuild up recipes/two-node
  labbuild up recipes/two-node --name class-a --to 10-system
  labbuild up recipes/two-node --set-file password=secret.txt
  labbuild up ./images          (a folder made by `labbuild export`)")]
pub struct UpArgs {
    /// Folder of a recipe, its lab.yaml, or a folder with exported images
    #[arg(value_name = "RECIPE|IMAGES", default_value = ".", value_hint = ValueHint::AnyPath)]
    pub source: PathBuf,
    /// Name of this copy [default: the recipe's name]
    #[arg(long, value_name = "LAB", value_parser = lab_name)]
    pub name: Option<String>,
    /// Which stages.
    #[command(flatten)]
    pub stages: StageRange,
    /// Variables of the recipe.
    #[command(flatten)]
    pub variables: Variables,
    /// Fail where something from outside is not in labbuild.lock
    #[arg(long)]
    pub locked: bool,
}

/// `labbuild down`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild down\n  labbuild down a b\n  labbuild down --all")]
pub struct DownArgs {
    /// Labs to stop [default: the only one that runs]
    #[arg(value_name = "LAB", value_parser = lab_name)]
    pub labs: Vec<String>,
    /// Every lab of this store
    #[arg(long, conflicts_with = "labs")]
    pub all: bool,
}

/// `labbuild status`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild status\n  labbuild status --json two-node")]
pub struct StatusArgs {
    /// One lab [default: all]
    #[arg(value_name = "LAB", value_parser = lab_name)]
    pub lab: Option<String>,
}

/// Which of several running labs.
#[derive(Debug, Clone, Args)]
pub struct WhichLab {
    /// The lab [default: the only one that runs]
    #[arg(long, value_name = "LAB", value_parser = lab_name)]
    pub name: Option<String>,
}

/// `labbuild exec`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  labbuild exec controller -- ip -br addr
  labbuild exec --name class-a compute1 -- sh -c 'ping -c 1 controller && date'")]
pub struct ExecArgs {
    /// Which lab.
    #[command(flatten)]
    pub lab: WhichLab,
    /// The machine
    pub machine: String,
    /// The command and its arguments; no shell unless you name one
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// `labbuild ssh`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild ssh compute1\n  labbuild ssh compute1 -- uptime")]
pub struct SshArgs {
    /// Which lab.
    #[command(flatten)]
    pub lab: WhichLab,
    /// The machine
    pub machine: String,
    /// A command instead of a shell
    #[arg(last = true)]
    pub command: Vec<OsString>,
}

/// `labbuild console`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild console controller      (leave with Ctrl-])")]
pub struct MachineArgs {
    /// Which lab.
    #[command(flatten)]
    pub lab: WhichLab,
    /// The machine
    pub machine: String,
}

/// `labbuild logs`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild logs controller | less")]
pub struct LogsArgs {
    /// Which lab.
    #[command(flatten)]
    pub lab: WhichLab,
    /// The machine
    pub machine: String,
}

/// `labbuild uri`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  virsh -c \"$(labbuild uri)\" list")]
pub struct UriArgs {
    /// Which lab.
    #[command(flatten)]
    pub lab: WhichLab,
}

/// `labbuild plan`
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  labbuild plan recipes/two-node --from 20-database
  labbuild plan somebodys-recipe --trust      (before you build what you did not write)")]
pub struct PlanArgs {
    /// The recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Which stages.
    #[command(flatten)]
    pub stages: StageRange,
    /// Also what the recipe runs and where, what it fetches, opens and reaches (--json always says it)
    #[arg(long)]
    pub trust: bool,
}

/// `labbuild validate`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild validate recipes/*")]
pub struct ValidateArgs {
    /// Folders of recipes, or their lab.yaml
    #[arg(value_name = "RECIPE", required = true, value_hint = ValueHint::AnyPath)]
    pub recipes: Vec<PathBuf>,
    /// Variables of the recipe.
    #[command(flatten)]
    pub variables: Variables,
}

/// `labbuild schema`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild schema > labbuild.schema.json")]
pub struct SchemaArgs {
    /// One kind of file [default: all, told apart by their keys]
    pub which: Option<SchemaKind>,
}

/// A kind of recipe file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// lab.yaml
    Lab,
    /// A stage file
    Stage,
    /// A file that `lab.yaml` includes: networks, machines, variables
    Commons,
    /// A file that a stage includes: steps or checks
    Part,
}

/// `labbuild graph`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild graph recipes/two-node -o two-node.svg")]
pub struct GraphArgs {
    /// The recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE.svg", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// `labbuild build`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild build recipes/two-node\n  \
labbuild build recipes/two-node --locked")]
pub struct BuildArgs {
    /// The recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Which stages.
    #[command(flatten)]
    pub stages: StageRange,
    /// Fail where something from outside is not in labbuild.lock
    #[arg(long)]
    pub locked: bool,
}

/// `labbuild images`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild images --json")]
pub struct ImagesArgs {}

/// `labbuild export`
#[derive(Debug, Clone, Args)]
#[command(allow_missing_positional = true)]
#[command(after_help = "Examples:\n  labbuild export recipes/two-node ./images")]
pub struct ExportArgs {
    /// A recipe, or the name of a lab that has images [default: the only one that has]
    #[arg(value_name = "RECIPE|LAB", value_hint = ValueHint::AnyPath)]
    pub source: Option<PathBuf>,
    /// Folder for the images; made if it is not there
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

/// `labbuild verify`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild verify recipes/two-node --boots 3\n  \
labbuild verify ./images")]
pub struct VerifyArgs {
    /// Folder of a recipe, its lab.yaml, or a folder with exported images
    #[arg(value_name = "RECIPE|IMAGES", value_hint = ValueHint::AnyPath)]
    pub source: PathBuf,
    /// How many fresh copies
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub boots: u32,
}

/// `labbuild gc`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild gc --dry-run\n  labbuild gc --yes")]
pub struct GcArgs {
    /// Only show what would be freed
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask (needed where there is no terminal)
    #[arg(short, long)]
    pub yes: bool,
}

/// `labbuild doctor`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  labbuild doctor\n  labbuild doctor --json")]
pub struct DoctorArgs {}

/// `labbuild completions`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  source <(labbuild completions bash)")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `labbuild man`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  labbuild man | man -l -\n  labbuild man --dir ~/.local/share/man/man1"
)]
pub struct ManArgs {
    /// Write a page for every command into this folder [default: labbuild(1) to standard output]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// `labbuild internal`
#[derive(Debug, Clone, Args)]
pub struct InternalArgs {
    /// What to be, and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub args: Vec<OsString>,
}

/// `KEY=VALUE`
/// A lab's name: it becomes part of file names and of libvirt's names.
fn lab_name(text: &str) -> Result<String, String> {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(rest);
    if good && text.len() <= 32 {
        return Ok(text.to_owned());
    }
    Err("a lab's name is a small letter, then small letters, digits and `-`, at most 32".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        let cli = Cli::command();
        for command in cli.get_subcommands().filter(|c| !c.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("labbuild "), "{} has no example", command.get_name());
        }
    }

    #[test]
    fn export_takes_one_or_two_places() {
        let export = |args: &[&str]| {
            let words = ["labbuild", "export"].iter().chain(args);
            match Cli::try_parse_from(words).unwrap().command {
                Command::Export(args) => (args.source, args.dir),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(export(&["out"]), (None, "out".into()));
        assert_eq!(export(&["two-node", "out"]), (Some("two-node".into()), "out".into()));
    }

    #[test]
    fn internal_keeps_its_arguments_raw() {
        let cli = Cli::try_parse_from(["labbuild", "internal", "keeper", "--json", "-q", "x"]);
        match cli.unwrap().command {
            Command::Internal(args) => assert_eq!(args.args, ["keeper", "--json", "-q", "x"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(lab_name("class-a").is_ok());
        for bad in ["", "A", "../x", "1a", &"a".repeat(33)] {
            assert!(lab_name(bad).is_err(), "{bad}");
        }
    }
}
