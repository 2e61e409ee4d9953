//! stub
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    Done,
    Failed,
    Usage,
    Partial,
    Refused,
    Held,
}
impl ExitCode {
    pub fn number(self) -> u8 {
        self as u8
    }
}
