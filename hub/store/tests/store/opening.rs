use stencil_store::Error;
use stencil_store::sqlite::{self, Options};

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = sqlite::open(folder.path().join("missing/hub.db"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotFound { what: "folder", .. }),
        "{error}"
    );

    let file = folder.path().join("notes.txt");
    std::fs::write(
        &file,
        "not a database, but long enough to look at: ".repeat(100),
    )
    .unwrap();
    let error = sqlite::open(&file).await.unwrap_err();
    assert!(
        matches!(error, Error::Corrupt { .. }) && !error.retryable(),
        "{error}"
    );

    let options = Options {
        chunk_points: 0,
        ..Options::default()
    };
    let error = sqlite::open_with(folder.path().join("hub.db"), options)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Invalid {
                what: "chunk_points",
                ..
            }
        ),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let fresh = crate::fresh().await;
    let mut files = 0;
    for entry in std::fs::read_dir(fresh.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.path());
        files += 1;
    }
    assert!(files >= 2, "the database and its log");
}

#[tokio::test]
async fn a_closed_store_refuses_instead_of_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = sqlite::open(folder.path().join("hub.db")).await.unwrap();
    let store = sqlite.store();
    sqlite.close().await;
    let error = store.tenancy.tenants(None, 1).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
}

#[test]
fn unknown_settings_are_refused() {
    let error = serde_json::from_str::<Options>(r#"{ "readerz": 3 }"#).unwrap_err();
    assert!(error.to_string().contains("readerz"), "{error}");
}
