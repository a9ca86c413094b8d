//! Files in the guest.

use std::time::Instant;

use labbuild::backend::agent::{AgentError, FileMeta};

use super::live::{guest, output};

#[tokio::test]
async fn files_are_written_whole_and_keep_their_looks() {
    let turn = guest(false).await;
    let agent = &turn.agent;
    let path = "/var/tmp/labbuild-test/a b/file";
    output(agent, "rm -rf /var/tmp/labbuild-test").await;
    let meta = FileMeta { mode: Some(0o640), owner: Some("nobody:daemon".into()) };
    assert!(agent.write_file(path, b"one\n", &meta).await.unwrap());
    assert!(!agent.write_file(path, b"one\n", &FileMeta::default()).await.unwrap());
    assert!(agent.write_file(path, b"two\n", &FileMeta::default()).await.unwrap());
    output(agent, &format!("ln -s 'a b/file' /var/tmp/labbuild-test/link; chmod 604 '{path}'"))
        .await;
    assert!(
        agent.write_file("/var/tmp/labbuild-test/link", b"3", &FileMeta::default()).await.unwrap()
    );
    let looks =
        output(agent, &format!("stat -c '%a %U %G %F' /var/tmp/labbuild-test/link '{path}'")).await;
    assert_eq!(looks, "777 root root symbolic link\n604 nobody daemon regular file");
    assert_eq!(agent.read_file(path, 10).await.unwrap().unwrap(), b"3");
    assert_eq!(agent.read_file("/no/such", 10).await.unwrap(), None);
    let error = agent.read_file("/etc/services", 10).await.unwrap_err();
    assert!(matches!(error, AgentError::File { .. }), "{error}");
    let error = agent.write_file("/etc", b"x", &FileMeta::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "/etc on guest: is a folder");
    assert_eq!(output(agent, "ls -A '/var/tmp/labbuild-test/a b'").await, "file");
}

#[tokio::test]
async fn long_five_mebibytes_are_copied() {
    let turn = guest(false).await;
    let bytes: Vec<u8> =
        (0..5 << 20_u32).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let path = "/var/tmp/labbuild-test-large";
    let start = Instant::now();
    turn.agent.write_file(path, &bytes, &FileMeta::default()).await.unwrap();
    eprintln!("5 MiB there in {:?}", start.elapsed());
    let back = turn.agent.read_file(path, 6 << 20).await.unwrap().unwrap();
    eprintln!("and back after {:?}", start.elapsed());
    assert!(back == bytes);
    output(&turn.agent, &format!("ls {path}.* && exit 1; rm {path}")).await;
}
