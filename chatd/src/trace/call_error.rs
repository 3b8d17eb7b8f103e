//! Errors as traces and metrics tell them apart.

/// An error that a call answers with, told apart by a label: the labels are few, and come from the code.
pub trait CallError {
    /// Returns the label: lower case, stable.
    fn label(&self) -> &'static str;
    /// Returns `true` if the error is not the caller's doing.
    fn is_fault(&self) -> bool;
}
