//! What the emulated platform holds: iTwins, the iModels in them, and connections with their runs.
//!
//! Plain data that a test fills in and changes. How it is found and listed is told by `platform` and
//! `discovery`; how it reads on the wire by `answer`.

use std::collections::BTreeSet;

use super::listing::{Listing, Order};
use crate::api::Kind;

/// One iTwin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Itwin {
    /// Its name, as lists show it.
    pub display_name: String,
    /// Lists of its iModels answer with this status (403).
    pub status: Option<u16>,
    /// Lists of iTwins leave it out. Its iModels can be listed by whoever knows its id.
    pub unlisted: bool,
}

impl Itwin {
    /// An iTwin with this name.
    #[must_use]
    pub fn new(display_name: &str) -> Itwin {
        Itwin { display_name: display_name.to_owned(), ..Itwin::default() }
    }
}

/// One iModel. Lists of connections are answered for those that the platform does not hold, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imodel {
    /// The iTwin it belongs to.
    pub itwin_id: String,
    /// Its name, as lists show it.
    pub display_name: String,
    /// Lists of its connections, of any kind, answer with this status (403); the list of iModels holds it
    /// all the same.
    pub status: Option<u16>,
    /// The list of iModels leaves it out without a word, as it does where the permission is missing.
    pub unlisted: bool,
}

impl Imodel {
    /// An iModel of this iTwin with this name.
    #[must_use]
    pub fn new(itwin_id: &str, display_name: &str) -> Imodel {
        Imodel { itwin_id: itwin_id.to_owned(), display_name: display_name.to_owned(), ..Imodel::default() }
    }
}

/// One connection and its runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connection {
    /// What it does. It and its runs are found under the path of its kind only.
    pub kind: Kind,
    /// The iModel it exports or synchronizes.
    pub imodel_id: String,
    /// The iTwin of that iModel.
    pub itwin_id: String,
    /// Its name, as lists show it.
    pub display_name: String,
    /// Its runs, from the oldest to the newest.
    pub listing: Listing,
    /// In which order a list of its runs gives them.
    pub order: Order,
    /// All its endpoints answer with this status (403, 404); lists of connections leave it out.
    pub status: Option<u16>,
    /// Runs of the listing that exist by id but are not listed.
    pub unlisted: BTreeSet<String>,
}

impl Connection {
    /// An Export connection with this name and these runs, newest first.
    #[must_use]
    pub fn new(display_name: &str, listing: Listing) -> Connection {
        Connection {
            imodel_id: "a0471655-6b18-419e-ab01-ebf4fbff9dff".to_owned(),
            itwin_id: "5e4b8a92-30cd-4f6e-9d0c-1f2a3b4c5d6e".to_owned(),
            display_name: display_name.to_owned(),
            listing,
            ..Connection::default()
        }
    }
}
