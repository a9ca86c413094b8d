//! The script that takes the dashboard's picture, in a real browser, on a page with the dashboard's
//! form. It boots no machine, but needs what `scripts/install long` installs.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

/// The page: it is served until its standard input ends.
struct Page {
    server: Child,
    _life: ChildStdin,
    url: String,
}

impl Page {
    fn serve() -> Page {
        let mut server = Command::new("python3")
            .arg("tests/browser/login_page.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let _life = server.stdin.take().unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Page { server, _life, url: format!("http://127.0.0.1:{}/horizon/", port.trim()) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn shoot(url: &str, password: &str, to: &std::path::Path) -> Output {
    let mut script = Command::new("scripts/dashboard-shot");
    script.arg(url).arg(to).env("OS_PASSWORD", password).env("DASHBOARD_TIMEOUT", "120");
    script.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn long_the_script_logs_in_and_takes_a_picture_or_says_why_not() {
    let page = Page::serve();
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("page.png");
    let shot = shoot(&page.url, "11111", &picture);
    assert!(shot.status.success(), "{}", text(&shot.stderr));
    let said = text(&shot.stdout);
    assert_eq!(said, format!("Overview - Fixture ({}project/)\n", page.url));
    let bytes = std::fs::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    let width = u32::from_be_bytes(bytes[16..20].try_into().unwrap());
    assert_eq!(width, 1400);

    let refused = dir.path().join("refused.png");
    let shot = shoot(&page.url, "wrong", &refused);
    assert_eq!(shot.status.code(), Some(1));
    let said = text(&shot.stderr);
    assert!(
        said.contains("demo was not let in") && said.contains("Invalid credentials."),
        "{said}"
    );
    assert!(!refused.exists());

    let url = page.url.clone();
    drop(page);
    let shot = shoot(&url, "11111", &refused);
    assert_eq!(shot.status.code(), Some(1));
    assert!(text(&shot.stderr).contains("ERR_CONNECTION_REFUSED"), "{}", text(&shot.stderr));
}
