//! A base of kind *bootstrap*, from the outside: checks first, then mmdebstrap in its
//! namespaces, then the disk.

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::accept::{accept, fault_at};
use super::definition::{Bootstrap, is_package};
use super::namespace::{Scratch, check_programs};
use super::progress::{Lines, Task};
use super::spec::{Complaint, Spec, Wishes, out};
use super::{BaseError, Built, LockedPackage, Request, image, sources, text};
use crate::event::Events;
use crate::host::{HostError, files};
use crate::recipe::Faults;

/// Files of one build inside the work folder.
struct Places {
    spec: PathBuf,
    out: PathBuf,
    scratch: PathBuf,
    tar: PathBuf,
}

impl Places {
    fn new(work_dir: &Path) -> Self {
        let at = |name: &str| work_dir.join(name);
        Places {
            spec: at("spec.json"),
            out: at("out"),
            scratch: at("scratch"),
            tar: at("tree.tar"),
        }
    }
}

/// Makes the base disk of one machine in `work_dir` (created if absent).
///
/// All that can be known to be wrong is reported before the long work begins. Dropping the
/// future ends every process it started; the work folder can then be removed with
/// [`discard`](super::discard).
pub async fn bootstrap(
    definition: &Bootstrap,
    request: &Request,
    work_dir: &Path,
    events: &Events,
) -> Result<Built, BaseError> {
    let wishes = accept(definition, request)?;
    check_packages(&request.extra_packages)?;
    check_clock(definition)?;
    check_programs(&["setpriv", "unshare", "mmdebstrap", "sfdisk", "qemu-img"]).await?;
    image::check_tools().await?;
    files::create_dir(work_dir)?;
    let work_dir = &work_dir.canonicalize().map_err(HostError::file("find", work_dir))?;
    let title = format!("{} for {}", definition.title, request.machine);
    let task = Task::start(events, format!("base/{}", request.machine), title, &request.machine);

    let places = Places::new(work_dir);
    let spec = make_spec(definition, request, wishes, &places);
    let partitions = spec.wishes.partitions.clone();
    make_tree(definition, request, &spec, &places, &task).await?;
    pass_warnings_on(request, &places.out, events)?;
    let input = image::Input {
        tar: &places.tar,
        out: &places.out,
        partitions: &partitions,
        ids: &request.ids,
        disk: request.disk,
        epoch: definition.time,
    };
    let disk = image::write(&input, work_dir, &task).await?;
    let packages: Vec<LockedPackage> = read_json(&places.out.join(out::PACKAGES))?;
    for leftover in [&places.spec, &places.out, &places.tar] {
        files::remove(leftover)?;
    }
    super::discard(&places.scratch).await?;
    task.done();
    Ok(Built { disk, virtual_size: request.disk, packages })
}

fn check_packages(names: &[String]) -> Result<(), BaseError> {
    match names.iter().find(|n| !is_package(n)) {
        Some(bad) => Err(BaseError::Needs(format!(
            "`{bad}` is not a package name that a base can install\n  letters, digits and `+-.` only; versions and wildcards need `install: in-guest`"
        ))),
        None => Ok(()),
    }
}

/// Dates of files are cut down to the definition's time, so the present must not be before it.
fn check_clock(definition: &Bootstrap) -> Result<(), BaseError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    if now >= definition.time {
        return Ok(());
    }
    Err(BaseError::Needs(
        "the clock of this host is before the `time:` of the base definition, so file dates would differ from build to build\n  set the clock, or an earlier `time:` in the definition".to_owned(),
    ))
}

fn make_spec(definition: &Bootstrap, request: &Request, wishes: Wishes, places: &Places) -> Spec {
    let installed: BTreeSet<&String> = request.extra_packages.iter().collect();
    Spec {
        out: places.out.clone(),
        deb_cache: request.deb_cache.clone(),
        architecture: definition.architecture.clone(),
        debconf: definition.debconf.clone(),
        disable: definition.disable.clone(),
        first_start: definition.first_start.clone(),
        extra_packages: installed.into_iter().cloned().collect(),
        files: text::tree_files(&wishes, &request.nics, &request.ids, &definition.cmdline),
        sources: sources::of_guest(&definition.sources),
        early_grub: text::early_grub(&request.ids),
        machine_id: request.ids.machine_id.clone(),
        epoch: definition.time,
        wishes,
    }
}

async fn make_tree(
    definition: &Bootstrap,
    request: &Request,
    spec: &Spec,
    places: &Places,
    task: &Task,
) -> Result<(), BaseError> {
    for stale in [&places.out, &places.tar] {
        files::remove(stale)?;
    }
    super::discard(&places.scratch).await?;
    files::create_dir(&places.out)?;
    if let Some(cache) = &request.deb_cache {
        files::create_dir(cache)?;
    }
    write_spec(spec, &places.spec)?;
    let scratch = Scratch::new(places.scratch.clone(), request.in_memory)?;
    let arguments = mmdebstrap_arguments(definition, request, spec, places).await;
    let mut lines = Lines::default();
    let run = scratch.command("mmdebstrap", definition.time).args(arguments).run_with(|line| {
        if let Some((message, fraction)) = lines.read(line) {
            task.say(&message, fraction);
        }
    });
    match run.await {
        Ok(_) => Ok(()),
        Err(error) => Err(tree_error(request, spec, &places.out, error)),
    }
}

async fn mmdebstrap_arguments(
    definition: &Bootstrap,
    request: &Request,
    spec: &Spec,
    places: &Places,
) -> Vec<String> {
    let kickstart = spec.wishes.packages.iter().map(|p| &p.value);
    let include: BTreeSet<&String> = definition.packages.iter().chain(kickstart).collect();
    let include: Vec<&str> = include.into_iter().map(String::as_str).collect();
    let hook = hook_line(request, &places.spec);
    let mut arguments = vec![
        "--verbose".to_owned(),
        "--mode=root".to_owned(),
        "--format=tar".to_owned(),
        format!("--architectures={}", definition.architecture),
        format!("--variant={}", definition.variant),
        format!("--include={}", include.join(",")),
        "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
        // The first would take the machine-id away, the second the packages meant for the cache.
        "--skip=cleanup/reproducible,essential/unlink".to_owned(),
    ];
    arguments.extend(sources::host_settings().await.iter().map(|s| format!("--aptopt={s}")));
    for phase in ["setup", "essential", "customize"] {
        arguments.push(format!("--{phase}-hook={hook}"));
    }
    arguments.push(definition.suite.clone());
    arguments.push(places.tar.to_string_lossy().into_owned());
    arguments.extend(sources::for_build(&definition.sources).await);
    arguments
}

/// The one line that does pass a shell: our own program and our own path, quoted; the folder of
/// the tree is its first parameter.
fn hook_line(request: &Request, spec: &Path) -> String {
    let words = request.hook.iter().map(|w| w.to_string_lossy().into_owned());
    let words: Vec<String> = words.chain([spec.to_string_lossy().into_owned()]).collect();
    let quoted = shlex::try_join(words.iter().map(String::as_str));
    // Only a NUL byte cannot be quoted, and no path or argument can hold one.
    format!("{} \"$1\"", quoted.unwrap_or_default())
}

fn write_spec(spec: &Spec, path: &Path) -> Result<(), BaseError> {
    files::remove(path)?;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(HostError::file("create", path))?;
    serde_json::to_writer(file, spec)
        .map_err(|e| BaseError::Handover { path: path.to_owned(), reason: e.to_string() })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, BaseError> {
    let text = files::read_text(path)?;
    serde_json::from_str(&text)
        .map_err(|e| BaseError::Handover { path: path.to_owned(), reason: e.to_string() })
}

/// What went wrong, in the words of the part that knows: complaints from inside the tree, an
/// unknown package with its line, or the tools' own last lines.
fn tree_error(request: &Request, spec: &Spec, out: &Path, error: HostError) -> BaseError {
    let complaints = read_json::<Vec<Complaint>>(&out.join(out::COMPLAINTS)).unwrap_or_default();
    if !complaints.is_empty() {
        return complaints_error(request, complaints);
    }
    let HostError::Failed { stderr, .. } = &error else { return error.into() };
    let unknown = unknown_packages(spec, stderr);
    if !unknown.is_empty() {
        return complaints_error(request, unknown);
    }
    BaseError::Tree { machine: request.machine.clone(), reason: last_words(stderr) }
}

fn complaints_error(request: &Request, complaints: Vec<Complaint>) -> BaseError {
    let (placed, bare): (Vec<_>, Vec<_>) = complaints.into_iter().partition(|c| c.line.is_some());
    if bare.is_empty() {
        let fault =
            |c: Complaint| fault_at(&request.kickstart, c.line.unwrap_or(1), c.message, c.help);
        return BaseError::Faults(Faults(placed.into_iter().map(fault).collect()));
    }
    let reasons = bare.into_iter().chain(placed).map(|c| match c.help {
        Some(help) => format!("{}\n  {help}", c.message),
        None => c.message,
    });
    let reason = reasons.collect::<Vec<_>>().join("\n");
    BaseError::Tree { machine: request.machine.clone(), reason }
}

fn unknown_packages(spec: &Spec, stderr: &str) -> Vec<Complaint> {
    let names: BTreeSet<&str> = stderr
        .lines()
        .filter_map(|l| {
            let missing = l.strip_prefix("E: Unable to locate package ");
            missing.or_else(|| {
                let rest = l.strip_prefix("E: Package '")?;
                rest.strip_suffix("' has no installation candidate")
            })
        })
        .collect();
    names
        .into_iter()
        .map(|name| Complaint {
            line: spec.wishes.packages.iter().find(|p| p.value == name).map(|p| p.line),
            message: format!("this system has no package `{name}`"),
            help: Some(
                "names differ between systems; `apt-cache search` in a machine finds them"
                    .to_owned(),
            ),
        })
        .collect()
}

fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.starts_with("I: ") && !l.starts_with("W: "))
        .collect();
    let tail = &lines[lines.len().saturating_sub(15)..];
    format!("mmdebstrap failed{}", tail.iter().map(|l| format!("\n  | {l}")).collect::<String>())
}

fn pass_warnings_on(request: &Request, out: &Path, events: &Events) -> Result<(), BaseError> {
    let path = out.join(out::WARNINGS);
    if !path.exists() {
        return Ok(());
    }
    for warning in read_json::<Vec<Complaint>>(&path)? {
        let place = warning.line.map(|l| format!("{}:{l}: ", request.kickstart.name));
        let help = warning.help.map(|h| format!("\n{h}")).unwrap_or_default();
        events.warning(format!("{}{}{help}", place.unwrap_or_default(), warning.message));
    }
    Ok(())
}
