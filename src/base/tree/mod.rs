//! The part of labbuild that works inside the tree's namespaces: mmdebstrap calls it as a hook.
//!
//! It reads a [`Spec`], changes the tree under the root folder it is given, and leaves results,
//! complaints and warnings in the specification's `out` folder. Files are written without ever
//! following a link out of the tree; programs of the tree run in a `chroot`.

mod accounts;
mod boot;
mod bytecode;
mod cleanup;
mod first_start;
mod maintainer;
mod packages;
mod root;
mod scripts;
mod system;
mod units;

use std::io::Write;
use std::path::Path;

use super::BaseError;
use super::fetch::names;
use super::progress::say;
use super::spec::{Complaint, Spec, out};
use crate::host::cage::IN;
use crate::host::{Cmd, HostError, Output, files};
use root::Root;

/// What a change to the tree can end in.
#[derive(Debug, thiserror::Error)]
enum TreeError {
    #[error("{}", .0.iter().map(|c| c.message.as_str()).collect::<Vec<_>>().join("\n"))]
    Complaints(Vec<Complaint>),
    #[error(transparent)]
    Host(#[from] HostError),
}

impl TreeError {
    fn into_complaints(self) -> Vec<Complaint> {
        match self {
            TreeError::Complaints(list) => list,
            TreeError::Host(e) => {
                vec![Complaint { line: None, message: e.to_string(), help: None }]
            }
        }
    }
}

fn complaint(line: impl Into<Option<u32>>, message: impl Into<String>, help: &str) -> Complaint {
    let help = (!help.is_empty()).then(|| help.to_owned());
    Complaint { line: line.into(), message: message.into(), help }
}

/// The tree and what is wished of it.
struct Tree<'s> {
    root: Root,
    spec: &'s Spec,
    warnings: Vec<Complaint>,
}

/// Entry of the hook: carries the phase out that mmdebstrap names in `MMDEBSTRAP_HOOK`.
///
/// What goes wrong is left in the specification's `out` folder for the build outside, and
/// returned.
pub async fn customize_main(spec: &Path, root: &Path) -> Result<(), BaseError> {
    let handover = |reason: String| BaseError::Handover { path: spec.to_owned(), reason };
    let parsed: Spec =
        serde_json::from_str(&files::read_text(spec)?).map_err(|e| handover(e.to_string()))?;
    let phase = std::env::var("MMDEBSTRAP_HOOK").unwrap_or_default();
    let root = Root::open(root)?;
    let mut tree = Tree { root, spec: &parsed, warnings: Vec::new() };
    let result = match phase.as_str() {
        "setup" => tree.setup(),
        "essential" => tree.essential().await,
        "customize" => tree.customize().await,
        other => return Err(handover(format!("there is no phase `{other}`"))),
    };
    if let Err(error) = result {
        let reason = error.to_string();
        leave(&parsed, out::COMPLAINTS, &error.into_complaints())?;
        return Err(BaseError::Tree { machine: "this machine".to_owned(), reason });
    }
    Ok(())
}

fn leave<T: serde::Serialize>(spec: &Spec, name: &str, value: &T) -> Result<(), HostError> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    files::write_atomic(&spec.out.join(name), &bytes)
}

impl Tree<'_> {
    /// Before anything is downloaded.
    fn setup(&mut self) -> Result<(), TreeError> {
        self.take_in(names::LISTS, "var/lib/apt/lists")?;
        self.take_in(names::DEBS, "var/cache/apt/archives")?;
        // Kernel packages keep /vmlinuz and /initrd.img, through which GRUB boots.
        self.root.write("etc/kernel-img.conf", b"do_symlinks = yes\n", 0o644)?;
        Ok(())
    }

    /// Copies what was fetched to where apt looks for it: there is nothing to download.
    fn take_in(&self, name: &str, to: &str) -> Result<(), HostError> {
        let from = Path::new(IN).join(name);
        for entry in std::fs::read_dir(&from).map_err(HostError::file("list", &from))?.flatten() {
            let bytes = std::fs::read(entry.path()).map_err(HostError::file("read", &from))?;
            let file = entry.file_name();
            self.root.write(&format!("{to}/{}", file.to_string_lossy()), &bytes, 0o644)?;
        }
        self.root.create_dir(&format!("{to}/partial"))
    }

    /// The core is installed, nothing else.
    async fn essential(&mut self) -> Result<(), TreeError> {
        if !self.spec.debconf.is_empty() {
            let answers = self.spec.debconf.join("\n") + "\n";
            self.chroot("debconf-set-selections").stdin(answers).run().await?;
        }
        Ok(())
    }

    /// Everything the kickstart's `%packages` asks for is installed.
    async fn customize(&mut self) -> Result<(), TreeError> {
        self.say("carrying the kickstart out");
        self.system().await?;
        self.accounts().await?;
        self.exclude().await?;
        self.install_extra().await?;
        self.root.write("etc/apt/sources.list", self.sources().as_bytes(), 0o644)?;
        self.services().await?;
        self.scripts().await?;
        self.first_starts().await?;
        self.boot().await?;
        self.record_packages()?;
        self.cleanup()?;
        leave(self.spec, out::WARNINGS, &self.warnings)?;
        Ok(())
    }

    fn sources(&self) -> String {
        self.spec.sources.iter().map(|s| format!("{s}\n")).collect()
    }

    /// A program of the tree, run in the tree.
    fn chroot(&self, program: &str) -> Cmd {
        Cmd::new("chroot").arg(self.root.path()).arg(program).dir(Path::new("/"))
    }

    /// Tells the build outside what is being done.
    fn say(&self, text: &str) {
        say(text);
    }

    /// Runs a program of the tree, handing what it prints on as the build's progress.
    async fn run_aloud(&self, command: Cmd) -> Result<Output, HostError> {
        command
            .run_with(|line| {
                let _ = writeln!(std::io::stderr(), "{line}");
            })
            .await
    }
}
