//! The macros that declare messages, slices and codes. From one declaration follow the type, its writing, its reading and its
//! largest size.
//!
//! | macro | declares | on the wire |
//! |---|---|---|
//! | `fields!` | `pub struct Rcpt<'a> { pub path: &'a [u8] as Octets<1024>, pub size: Option<u64>, }` | one field after the other |
//! | `foreign!` | `Tls { version: u16, suite: u16, }`, whose type is elsewhere | the same |
//! | `tagged!` | `pub enum Answer { 1 => Offer(offer: Offer), 2 => Spool, 3 => Past { octets: u64, }, }` | the tag, then the variant's fields |
//! | `codes!` | `Body Ret`, enums of [`gatepost_smtp::enumeration!`] | one octet: the place in `ALL` |
//!
//! `as` names the [`crate::codec::Coding`] of a field, which has the bound that its type lacks.

/// The coding that a field names, or the type's own.
macro_rules! coding {
    () => {
        $crate::codec::Plain
    };
    ($coding:ty) => {
        $coding
    };
}

macro_rules! fields {
    ($($(#[$meta:meta])* pub struct $name:ident $(<$a:lifetime>)? {
        $($(#[$doc:meta])* pub $field:ident: $type:ty $(as $coding:ty)?,)*
    })*) => {$(
        $(#[$meta])*
        pub struct $name $(<$a>)? { $($(#[$doc])* pub $field: $type,)* }

        $crate::declare::foreign! { $name $(<$a>)? { $($field: $type $(as $coding)?,)* } }
    )*};
}

macro_rules! foreign {
    ($($name:ty { $($field:tt: $type:ty $(as $coding:ty)?,)* })*) => {$(
        impl<'a> $crate::codec::Value<'a> for $name {
            const MAX: usize = $crate::codec::sum(&[
                $(<$crate::declare::coding!($($coding)?) as $crate::codec::Coding<'a, $type>>::MAX,)*
            ]);
            fn write(&self, out: &mut Vec<u8>, _: &'static str) -> Result<(), $crate::codec::WireError> {
                $(<$crate::declare::coding!($($coding)?) as $crate::codec::Coding<'a, $type>>::write(
                    &self.$field, out, stringify!($field),
                )?;)*
                Ok(())
            }
            fn read(r: &mut $crate::codec::Reader<'a>, _: &'static str) -> Result<Self, $crate::codec::WireError> {
                Ok(Self {$(
                    $field: <$crate::declare::coding!($($coding)?) as $crate::codec::Coding<'a, $type>>::read(
                        r, stringify!($field),
                    )?,
                )*})
            }
        }
    )*};
}

macro_rules! tagged {
    ($($(#[$meta:meta])* pub enum $name:ident $(<$a:lifetime>)? {
        $($(#[$doc:meta])* $tag:literal => $variant:ident
            $(($only:ident: $only_type:ty $(as $only_coding:ty)?))?
            $({ $($(#[$field_doc:meta])* $field:ident: $type:ty $(as $coding:ty)?,)* })?,
        )*
    })*) => {$(
        $(#[$meta])*
        pub enum $name $(<$a>)? {$(
            $(#[$doc])*
            $variant $(($only_type))? $({ $($(#[$field_doc])* $field: $type,)* })?,
        )*}

        impl $(<$a>)? $name $(<$a>)? {
            /// The tags of all variants.
            pub const TAGS: &'static [u8] = &[$($tag),*];
        }

        impl<'a> $crate::codec::Value<'a> for $name $(<$a>)? {
            const MAX: usize = $crate::codec::sum(&[1, $crate::codec::largest(&[$($crate::codec::sum(&[
                $(<$crate::declare::coding!($($only_coding)?) as $crate::codec::Coding<'a, $only_type>>::MAX,)?
                $($(<$crate::declare::coding!($($coding)?) as $crate::codec::Coding<'a, $type>>::MAX,)*)?
            ]),)*])]);
            fn write(&self, out: &mut Vec<u8>, _: &'static str) -> Result<(), $crate::codec::WireError> {
                match self {$(
                    Self::$variant $(($only))? $({ $($field),* })? => {
                        out.push($tag);
                        $(<$crate::declare::coding!($($only_coding)?) as $crate::codec::Coding<'a, $only_type>>::write(
                            $only, out, stringify!($only),
                        )?;)?
                        $($(<$crate::declare::coding!($($coding)?) as $crate::codec::Coding<'a, $type>>::write(
                            $field, out, stringify!($field),
                        )?;)*)?
                    }
                )*}
                Ok(())
            }
            fn read(r: &mut $crate::codec::Reader<'a>, field: &'static str) -> Result<Self, $crate::codec::WireError> {
                Ok(match u8::read(r, field)? {
                    $($tag => Self::$variant
                        $((<$crate::declare::coding!($($only_coding)?) as $crate::codec::Coding<'a, $only_type>>::read(
                            r, stringify!($only),
                        )?))?
                        $({$(
                            $field: <$crate::declare::coding!($($coding)?) as $crate::codec::Coding<'a, $type>>::read(
                                r, stringify!($field),
                            )?,
                        )*})?,
                    )*
                    tag => return Err($crate::codec::WireError::Tag(tag)),
                })
            }
        }
    )*};
}

macro_rules! codes {
    ($($name:ty)*) => {$(
        impl $crate::codec::Value<'_> for $name {
            const MAX: usize = 1;
            fn write(&self, out: &mut Vec<u8>, _: &'static str) -> Result<(), $crate::codec::WireError> {
                out.push(*self as u8);
                Ok(())
            }
            fn read(r: &mut $crate::codec::Reader<'_>, field: &'static str) -> Result<Self, $crate::codec::WireError> {
                let code = usize::from(u8::read(r, field)?);
                Self::ALL.get(code).copied().ok_or($crate::codec::WireError::Value(field))
            }
        }
    )*};
}

pub(crate) use {codes, coding, fields, foreign, tagged};
