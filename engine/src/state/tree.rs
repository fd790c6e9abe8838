//! How the states lie in each other: one definition for the types, their names, their order and
//! the drawing.

/// What the specification draws between the states that lie in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrows {
    /// It begins with the first, and each leads to the next.
    Chain,
    /// It begins with the first; the others are beside it.
    First,
    /// It begins with any of them, or with several at once.
    Each,
    /// None: they are side by side.
    Absent,
}

/// A state, as it is drawn.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) arrows: Arrows,
    pub(super) children: Vec<Node>,
}

/// The states that lie in one state.
pub(super) trait Tree: Copy + PartialEq {
    const ARROWS: Arrows;

    /// The innermost ones, in the order of the specification.
    fn all() -> Vec<Self>;

    /// The names from here inwards.
    fn names(self) -> Vec<&'static str>;

    /// What is drawn.
    fn nodes() -> Vec<Node>;

    /// The one behind this, in the order of the specification.
    fn next(self) -> Option<Self> {
        Self::all().into_iter().skip_while(|it| *it != self).nth(1)
    }
}

/// Defines the states that lie in one state, under the names that the specification gives them.
/// `Arrows`, `Node` and `Tree` must be in scope.
macro_rules! states {
    (
        $(#[$meta:meta])*
        $name:ident: $arrows:ident {
            $($(#[$inner_meta:meta])* $variant:ident $(($inner:ident))?,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$inner_meta])* $variant $(($inner))?,)+
        }

        impl Tree for $name {
            const ARROWS: Arrows = Arrows::$arrows;

            fn all() -> Vec<Self> {
                [$(states!(@all $variant $($inner)?)),+].concat()
            }

            fn names(self) -> Vec<&'static str> {
                match self {
                    $(Self::$variant $((states!(@bind $inner inner)))? => {
                        [&[stringify!($variant)][..] $(, &$inner::names(inner))?].concat()
                    })+
                }
            }

            fn nodes() -> Vec<Node> {
                vec![$(states!(@node $variant $($inner)?)),+]
            }
        }
    };
    (@all $variant:ident) => { vec![Self::$variant] };
    (@all $variant:ident $inner:ident) => {
        $inner::all().into_iter().map(Self::$variant).collect::<Vec<Self>>()
    };
    (@bind $inner:ident $name:ident) => { $name };
    (@node $variant:ident) => {
        Node { name: stringify!($variant), arrows: Arrows::Absent, children: Vec::new() }
    };
    (@node $variant:ident $inner:ident) => {
        Node { name: stringify!($variant), arrows: $inner::ARROWS, children: $inner::nodes() }
    };
}

pub(super) use states;
