//! `labbuild internal …`: what labbuild starts itself as. Not for people.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::base;
use crate::cli::InternalArgs;
use crate::commands::Failure;
use crate::host::cage;
use crate::sandbox;

/// Takes a role that needs a process of its own before any thread is started.
pub fn early(args: &InternalArgs) -> Option<ExitCode> {
    let (role, rest) = args.args.split_first()?;
    match role.to_str()? {
        "cage" => Some(cage::cage_main(rest.iter().cloned())),
        "probe" => Some(cage::probe_main(rest.iter().cloned())),
        "keeper" => Some(sandbox::keeper_main(rest.iter().cloned())),
        "sandbox-init" => Some(sandbox::init_main(rest.iter().cloned())),
        _ => None,
    }
}

/// The other roles.
pub async fn run(args: InternalArgs) -> Result<(), Failure> {
    let words: Vec<&OsString> = args.args.iter().collect();
    match words.as_slice() {
        [role, spec, root] if *role == "customize" => {
            Ok(base::customize_main(Path::new(spec), Path::new(root)).await?)
        }
        [role] if *role == "resolve" => Ok(base::resolve_main().await?),
        [role] if *role == "image" => Ok(base::image_main().await?),
        [role] if *role == "download" => Ok(base::download_main().await?),
        _ => Err(Failure::usage("this is for labbuild itself")),
    }
}
