//! A Debian archive of a test's own: packages made here, signed by a key made here, served on 127.0.0.1.

#![allow(dead_code, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use labbuild::digest::Digest;

/// Name of the suite, which has one component, `main`.
pub const SUITE: &str = "test";

/// A package to be.
pub struct Package {
    pub name: &'static str,
    /// Further lines of its control file.
    pub control: &'static str,
    /// Path in the tree, content, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
    /// Its script after unpacking, if it has one.
    pub postinst: Option<String>,
}

/// The archive, served until the test ends.
pub struct Archive {
    dir: tempfile::TempDir,
    port: u16,
}

impl Archive {
    pub fn serve(packages: &[Package]) -> Archive {
        // A short path: gpg's agent listens on a socket below it.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let index: String = packages.iter().map(|package| add(dir.path(), package)).collect();
        sign(dir.path(), &index);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let root = dir.path().join("www");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                std::thread::spawn(move || answer(stream, &root));
            }
        });
        Archive { dir, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The public key, in armor.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key.asc")
    }

    /// Where the files are that it serves.
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("www")
    }
}

/// Makes the package; gives its stanza for the index.
fn add(dir: &Path, package: &Package) -> String {
    let tree = dir.join("trees").join(package.name);
    let put = |path: &str, bytes: &[u8], mode| {
        let file = tree.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let control = format!(
        "Package: {}\nVersion: 1\nArchitecture: amd64\nMaintainer: a test <test@example.org>\n\
         Description: made by a test\n{}",
        package.name, package.control
    );
    put("DEBIAN/control", control.as_bytes(), 0o644);
    if let Some(script) = &package.postinst {
        put("DEBIAN/postinst", script.as_bytes(), 0o755);
    }
    for (path, bytes, mode) in &package.files {
        put(path, bytes, *mode);
    }
    let path = format!("pool/{}_1_amd64.deb", package.name);
    let deb = dir.join("www").join(&path);
    fs::create_dir_all(deb.parent().unwrap()).unwrap();
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .arg(&tree)
        .arg(&deb));
    let bytes = fs::read(&deb).unwrap();
    let (size, sha256) = (bytes.len(), Digest::of(&bytes));
    format!("{control}Filename: {path}\nSize: {size}\nSHA256: {sha256}\n\n")
}

fn sign(dir: &Path, index: &str) {
    let dists = dir.join("www/dists").join(SUITE);
    fs::create_dir_all(dists.join("main/binary-amd64")).unwrap();
    fs::write(dists.join("main/binary-amd64/Packages"), index).unwrap();
    let mut release = format!(
        "Suite: {SUITE}\nCodename: {SUITE}\nArchitectures: amd64\nComponents: main\n\
         Date: Sun, 01 Nov 2026 00:00:00 UTC\nSHA256:\n"
    );
    let (digest, size) = (Digest::of(index), index.len());
    writeln!(release, " {digest} {size} main/binary-amd64/Packages").unwrap();
    fs::write(dists.join("Release"), release).unwrap();
    let home = dir.join("gpg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = |words: &[&str]| {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", &home).args(["--batch", "--yes", "--passphrase", ""]).args(words);
        run(&mut gpg);
    };
    gpg(&["--quick-generate-key", "test@example.org", "default", "default", "never"]);
    let at = |name: &str| dists.join(name).to_string_lossy().into_owned();
    gpg(&["--clearsign", "--output", &at("InRelease"), &at("Release")]);
    gpg(&["--armor", "--output", dir.join("key.asc").to_str().unwrap(), "--export"]);
    run(Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "all"]));
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// As little of HTTP as apt needs.
fn answer(mut stream: TcpStream, root: &Path) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let found = fs::read(root.join(&path)).ok().filter(|_| !path.contains(".."));
    let (status, body) = match found {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
