//! Enums of plain variants, with the list of all.

/// Declares enums of plain variants, each with `ALL`: every variant in the order of declaration. A variant's place in it is
/// its code between processes.
#[macro_export]
macro_rules! enumeration {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),* }

        impl $name {
            /// All of them, in the order of declaration.
            pub const ALL: [Self; [$(stringify!($variant)),*].len()] = [$(Self::$variant),*];
        }
    )*};
}

/// As [`enumeration!`](crate::enumeration), and the doc lines of each variant are also its text in the manual.
#[macro_export]
macro_rules! documented {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[doc = $doc:literal])+ $variant:ident),* $(,)? })*) => {
        $crate::enumeration! {$(
            $(#[$meta])*
            pub enum $name { $($(#[doc = $doc])+ $variant),* }
        )*}

        $(impl $name {
            /// What it means, as markdown.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),* }
            }
        })*
    };
}
