//! Where a value lies in a Modbus device, and in which form.

use std::fmt;

/// The four tables of a Modbus device (Modbus Application Protocol 1.1b3, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Coils, function 1.
    Coil,
    /// Discrete inputs, function 2.
    Discrete,
    /// Holding registers, function 3.
    Holding,
    /// Input registers, function 4.
    Input,
}

impl Table {
    /// All four.
    pub const ALL: [Table; 4] = [Table::Coil, Table::Discrete, Table::Holding, Table::Input];

    /// Its key in a mapping.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Table::Coil => "coil",
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        }
    }

    /// Whether it has bits; the others have registers of 16.
    #[must_use]
    pub const fn has_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }

    /// The most that one request may ask for (sections 6.1 to 6.4).
    #[must_use]
    pub const fn most(self) -> u16 {
        if self.has_bits() { 2_000 } else { 125 }
    }
}

/// The form of a value in registers or bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A coil or discrete input.
    Bool,
    /// One bit of a register, 0 the least.
    Bit(u8),
    /// Some bits of a register as a number.
    Bits {
        /// The least of them, 0 to 15.
        from: u8,
        /// How many, 1 to 16.
        count: u8,
    },
    /// 16 bits without sign.
    U16,
    /// 16 bits with sign, two's complement.
    I16,
    /// 32 bits without sign.
    U32,
    /// 32 bits with sign.
    I32,
    /// 64 bits without sign.
    U64,
    /// 64 bits with sign.
    I64,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 64 bits.
    F64,
    /// A text of so many bytes, two a register.
    Text(u16),
}

impl Format {
    /// How many registers, or bits, it takes.
    #[must_use]
    pub const fn length(self) -> u16 {
        match self {
            Format::Bool | Format::Bit(_) | Format::Bits { .. } | Format::U16 | Format::I16 => 1,
            Format::U32 | Format::I32 | Format::F32 => 2,
            Format::U64 | Format::I64 | Format::F64 => 4,
            Format::Text(bytes) => bytes.div_ceil(2),
        }
    }

    /// Whether its values are numbers.
    #[must_use]
    pub const fn is_number(self) -> bool {
        !matches!(self, Format::Bool | Format::Bit(_) | Format::Text(_))
    }
}

/// How the bytes of a value of 32 bits lie in its registers, A the most significant. The 16 bits of
/// a register come with the high byte first by the specification; not all devices know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As the specification would have it: high word first, high byte first.
    #[default]
    Abcd,
    /// Low word first.
    Cdab,
    /// High word first, bytes swapped.
    Badc,
    /// Low word first, bytes swapped: little endian throughout.
    Dcba,
}

impl Order {
    /// All four, by their names in a mapping.
    pub const ALL: [(&str, Order); 4] = [
        ("abcd", Order::Abcd),
        ("cdab", Order::Cdab),
        ("badc", Order::Badc),
        ("dcba", Order::Dcba),
    ];

    /// Whether the low word comes first.
    pub(crate) const fn low_word_first(self) -> bool {
        matches!(self, Order::Cdab | Order::Dcba)
    }

    /// Whether the bytes within a word are swapped.
    pub(crate) const fn bytes_swapped(self) -> bool {
        matches!(self, Order::Badc | Order::Dcba)
    }
}

/// Where a point's value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// In which table.
    pub table: Table,
    /// Its first register or bit, from 0, as it stands in a request.
    pub first: u16,
    /// Its form.
    pub format: Format,
    /// The order of its bytes.
    pub order: Order,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table.name(), self.first)?;
        match self.format {
            Format::Bool => Ok(()),
            Format::Bit(bit) => write!(f, " bit {bit}"),
            Format::Bits { from, count } => write!(f, " bits {from}-{}", from + count - 1),
            Format::U16 => f.write_str(" u16"),
            Format::I16 => f.write_str(" i16"),
            Format::U32 => f.write_str(" u32"),
            Format::I32 => f.write_str(" i32"),
            Format::U64 => f.write_str(" u64"),
            Format::I64 => f.write_str(" i64"),
            Format::F32 => f.write_str(" f32"),
            Format::F64 => f.write_str(" f64"),
            Format::Text(bytes) => write!(f, " string {bytes}"),
        }?;
        let named = Order::ALL.iter().find(|(_, order)| *order == self.order);
        match named {
            Some((name, order)) if *order != Order::Abcd => write!(f, " {name}"),
            _ => Ok(()),
        }
    }
}

impl Address {
    /// The last register or bit of it; the mapping has checked that there is one.
    pub(crate) const fn last(&self) -> u16 {
        self.first
            .saturating_add(self.format.length().saturating_sub(1))
    }
}
