//! As much of an ELF file for a 32-bit little-endian machine as the bench asks for.

use std::path::Path;

use anyhow::{Context, ensure};

/// More than any board's flash.
const MAX_IMAGE: usize = 16 << 20;
const SEGMENT_LOAD: u32 = 1;
const SECTION_SYMBOLS: u32 = 2;
const SECTION_NO_BITS: u32 = 8;
const FLAG_ALLOCATED: u32 = 2;

/// A program.
pub(crate) struct Elf {
    bytes: Vec<u8>,
    sections: Vec<Section>,
}

struct Section {
    kind: u32,
    flags: u32,
    offset: usize,
    size: usize,
    link: usize,
}

impl Elf {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        ensure!(
            bytes.starts_with(b"\x7fELF\x01\x01"),
            "{} is no ELF file for a 32-bit little-endian machine",
            path.display()
        );
        let mut elf = Self {
            bytes,
            sections: Vec::new(),
        };
        let table = elf.word(0x20)? as usize;
        let size = usize::from(elf.half(0x2e)?);
        for index in 0..usize::from(elf.half(0x30)?) {
            let at = table + index * size;
            let section = Section {
                kind: elf.word(at + 4)?,
                flags: elf.word(at + 8)?,
                offset: elf.word(at + 16)? as usize,
                size: elf.word(at + 20)? as usize,
                link: elf.word(at + 24)? as usize,
            };
            elf.sections.push(section);
        }
        Ok(elf)
    }

    /// What is written to flash: code, constants, and the first values of variables.
    pub(crate) fn flash_bytes(&self) -> u64 {
        self.sections
            .iter()
            .filter(|section| section.flags & FLAG_ALLOCATED != 0)
            .filter(|section| section.kind != SECTION_NO_BITS)
            .map(|section| section.size as u64)
            .sum()
    }

    /// The bytes that are to be at `start` and behind it, as they are in flash.
    pub(crate) fn image(&self, start: u32) -> anyhow::Result<Vec<u8>> {
        let table = self.word(0x1c)? as usize;
        let size = usize::from(self.half(0x2a)?);
        let mut image = Vec::new();
        for index in 0..usize::from(self.half(0x2c)?) {
            let at = table + index * size;
            let length = self.word(at + 16)? as usize;
            if self.word(at)? != SEGMENT_LOAD || length == 0 {
                continue;
            }
            let to = self.word(at + 12)?.checked_sub(start);
            let to = to.with_context(|| format!("the program has bytes below {start:#x}"))?;
            let from = self.word(at + 4)? as usize;
            let content = self.bytes.get(from..from + length);
            let end = to as usize + length;
            ensure!(
                end <= MAX_IMAGE,
                "the program has bytes far beyond {start:#x}"
            );
            if image.len() < end {
                image.resize(end, 0xff);
            }
            image[to as usize..end].copy_from_slice(content.context("the ELF file is cut off")?);
        }
        ensure!(!image.is_empty(), "the program is empty");
        Ok(image)
    }

    /// A symbol's address.
    pub(crate) fn symbol(&self, name: &str) -> anyhow::Result<u32> {
        let symbols = self
            .sections
            .iter()
            .find(|section| section.kind == SECTION_SYMBOLS)
            .context("the image has no symbols")?;
        let names = self.sections.get(symbols.link).context("symbols' names")?;
        for at in (symbols.offset..symbols.offset + symbols.size).step_by(16) {
            let start = names.offset + self.word(at)? as usize;
            let text = self.bytes.get(start..).context("a symbol's name")?;
            if text.strip_prefix(name.as_bytes()).and_then(<[u8]>::first) == Some(&0) {
                return self.word(at + 4);
            }
        }
        anyhow::bail!("the image has no symbol {name}")
    }

    fn word(&self, at: usize) -> anyhow::Result<u32> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes
            .map(|bytes| u32::from_le_bytes(*bytes))
            .context("the ELF file is cut off")
    }

    fn half(&self, at: usize) -> anyhow::Result<u16> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes
            .map(|bytes| u16::from_le_bytes(*bytes))
            .context("the ELF file is cut off")
    }
}
