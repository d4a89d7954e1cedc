//! Images on disk. `{digest}.manifest` and `{digest}.part` while one comes, `{digest}.image` when
//! it is whole, verified and synced. After a kill at any point it goes on with the part; what
//! the digest does not confirm is fetched anew.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use stencil_log::regular;
use stencil_protocol::image::Digest;
use stencil_update::{
    envelope::{MAX_BYTES as MAX_ENVELOPE_BYTES, Verified},
    header::{Header, NAME_BYTES, PRELUDE_BYTES},
};

use super::hex;

/// The folder of images, with a bound on its size.
pub(super) struct Cache {
    folder: PathBuf,
    max_bytes: u64,
}

/// What is sent to devices: the prelude in memory, the image in its file.
pub(crate) struct Package {
    pub(crate) header: Header,
    pub(crate) name: [u8; NAME_BYTES],
    prelude: [u8; PRELUDE_BYTES],
    image: File,
}

/// What came of an image that is all there.
pub(super) enum Finished {
    /// It is the one that was signed.
    Whole(Box<Package>),
    /// It is not, and is gone.
    Other(String),
}

impl Cache {
    pub(super) fn open(folder: PathBuf, max_bytes: u64) -> io::Result<Self> {
        crate::disk::make_folder(&folder)?;
        Ok(Self { folder, max_bytes })
    }

    fn path(&self, digest: &Digest, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", hex(digest)))
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.path(digest, "manifest");
        regular::read(&path, MAX_ENVELOPE_BYTES as u64).ok()
    }

    pub(super) fn keep_manifest(&self, digest: &Digest, bytes: &[u8]) -> Result<(), String> {
        let path = self.path(digest, "manifest");
        // One that is torn does not verify, and is fetched again.
        let written = make(&path).and_then(|mut file| file.write_all(bytes));
        written.map_err(|error| cannot("write", &path, &error))
    }

    /// Makes room for an image; says how much of it is here already.
    pub(super) fn begin(
        &self,
        digest: &Digest,
        size: u32,
        wanted: &BTreeSet<Digest>,
    ) -> Result<u32, String> {
        let whole = self.path(digest, "image");
        if fs::metadata(&whole).is_ok_and(|it| it.len() == u64::from(size)) {
            return Ok(size);
        }
        let part = self.path(digest, "part");
        let have = fs::metadata(&part).map_or(0, |it| it.len());
        match u32::try_from(have) {
            Ok(have) if have > 0 && have <= size => return Ok(have),
            _ => {}
        }
        self.make_room(u64::from(size), wanted)?;
        make(&part).map_err(|error| cannot("make", &part, &error))?;
        Ok(0)
    }

    /// Removes what was used least recently, and is not wanted, until there is room.
    fn make_room(&self, bytes: u64, wanted: &BTreeSet<Digest>) -> Result<(), String> {
        let wanted: BTreeSet<String> = wanted.iter().map(|digest| hex(digest)).collect();
        let listed = fs::read_dir(&self.folder);
        let listed = listed.map_err(|error| cannot("look through", &self.folder, &error))?;
        let mut files: Vec<(SystemTime, u64, PathBuf)> = listed
            .flatten()
            .filter_map(|entry| {
                let of = entry.metadata().ok()?;
                Some((of.modified().ok()?, of.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut held: u64 = files.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in files {
            if held.saturating_add(bytes) <= self.max_bytes {
                break;
            }
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if !wanted.contains(stem.as_ref()) {
                fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
                held -= length;
            }
        }
        if held.saturating_add(bytes) > self.max_bytes {
            return Err(format!(
                "the gateway has no room for it: {bytes} bytes beside {held} of images.max_bytes = {}",
                self.max_bytes
            ));
        }
        Ok(())
    }

    /// Puts bytes behind those that are here.
    pub(super) fn append(
        &self,
        digest: &Digest,
        offset: u32,
        bytes: &[u8],
        size: u32,
    ) -> Result<(), String> {
        let end = u64::from(offset) + bytes.len() as u64;
        if end > u64::from(size) {
            return Err(format!("the hub has sent {end} bytes of {size}"));
        }
        let path = self.path(digest, "part");
        let file = regular::open(OpenOptions::new().write(true), &path);
        let file = file.map_err(|error| cannot("open", &path, &error))?;
        file.write_all_at(bytes, u64::from(offset))
            .map_err(|error| cannot("write", &path, &error))?;
        stencil_crashpoint::reach("gateway.image_piece");
        Ok(())
    }

    /// Verifies what is here; it has its name when it is on disk.
    pub(super) fn finish(&self, digest: &Digest, manifest: &Verified) -> Result<Finished, String> {
        let (part, whole) = (self.path(digest, "part"), self.path(digest, "image"));
        let is_whole = fs::metadata(&whole).is_ok();
        let path = if is_whole { &whole } else { &part };
        // At most 16 MiB, one at a time.
        let bytes = regular::read(path, u64::from(u32::MAX))
            .map_err(|error| cannot("read", path, &error))?;
        if let Err(why) = manifest.check_image(&bytes) {
            fs::remove_file(path).map_err(|error| cannot("remove", path, &error))?;
            return Ok(Finished::Other(format!("refused: {why}")));
        }
        drop(bytes);
        if !is_whole {
            let sync = || {
                regular::open_to_read(&part)?.sync_all()?;
                File::open(self.path(digest, "manifest"))?.sync_all()?;
                stencil_crashpoint::reach("gateway.image_whole");
                fs::rename(&part, &whole)?;
                File::open(&self.folder)?.sync_all()
            };
            sync().map_err(|error| cannot("keep", &whole, &error))?;
        }
        let image =
            regular::open_to_read(&whole).map_err(|error| cannot("open", &whole, &error))?;
        // Used now: others go first.
        if let Err(error) = image.set_modified(SystemTime::now()) {
            tracing::debug!(%error, "the time of an image's last use is not kept");
        }
        let header = *manifest.header();
        let encoded = |error: stencil_update::header::Error| error.to_string();
        Ok(Finished::Whole(Box::new(Package {
            header,
            name: header.name().map_err(encoded)?,
            prelude: manifest.prelude().map_err(encoded)?,
            image,
        })))
    }
}

impl Package {
    /// Bytes of the package from `offset` on, at most `max`. Blocks.
    pub(crate) fn read(&self, offset: u32, max: usize) -> io::Result<Vec<u8>> {
        let left = self.header.package_bytes().saturating_sub(offset);
        let length = max.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut bytes = vec![0; length];
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let head = self.prelude.get(from..).unwrap_or_default();
        let head = &head[..head.len().min(length)];
        bytes[..head.len()].copy_from_slice(head);
        let at = u64::from(offset).saturating_sub(PRELUDE_BYTES as u64);
        self.image.read_exact_at(&mut bytes[head.len()..], at)?;
        Ok(bytes)
    }
}

/// Makes a file, or empties it.
fn make(path: &Path) -> io::Result<File> {
    regular::open(
        OpenOptions::new().create(true).truncate(true).write(true),
        path,
    )
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("the gateway cannot {what} {}: {error}", path.display())
}
