//! Signs the two images that the target `boot` starts from. An LMS key takes a second here, and minutes
//! with a fuzzer's instruments.

use hbs_lms::{HssParameter, LmotsAlgorithm, LmsAlgorithm, Sha256_256};
use stencil_update::Header;
use stencil_update::device::digest;
use stencil_update::header::{Version, prelude};
use stencil_update::id::Id;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The library holds megabytes on the stack.
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    thread.spawn(make).expect("a thread").join().expect("keys");
}

fn make() {
    let folder = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).expect("cargo's folder can be written");
    };
    let parameters = [HssParameter::<Sha256_256>::new(
        LmotsAlgorithm::LmotsW8,
        LmsAlgorithm::LmsH10,
    )];
    let seed = hbs_lms::Seed::from([1; 32]);
    let (mut key, public) = hbs_lms::keygen(&parameters, &seed, None).expect("a key");
    write("boot-key", public.as_slice());
    for sequence in [3_u64, 4] {
        let image = vec![sequence.to_le_bytes()[0]; 500];
        let header = Header {
            vendor: Id([1; 16]),
            class: Id([2; 16]),
            sequence,
            size: 500,
            digest: digest(&image),
            version: Version::new("1").expect("a version"),
        };
        let header = header.encode().expect("a header");
        let signature = key.try_sign_with_aux(&header, None).expect("a signature");
        let signature = signature.as_ref().try_into().expect("its length");
        let package = [&prelude(&header, &signature), &image[..]].concat();
        write(&format!("boot-package-{sequence}"), &package);
    }
}
