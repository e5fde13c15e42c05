//! What an edit of the hook table would have done.
