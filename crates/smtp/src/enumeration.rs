//! Enums of plain variants, with the list of all.

/// Declares enums of plain variants, each with `ALL`: every variant in the order of declaration. A variant's place in it is
/// its code between processes.
#[macro_export]
macro_rules! enumeration {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),* }

        impl $name {
            /// All of them, in the order of declaration.
            pub const ALL: [Self; [$(stringify!($variant)),*].len()] = [$(Self::$variant),*];
        }
    )*};
}
