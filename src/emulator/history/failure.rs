//! The errors that tasks of the demo end with, their keys and texts as in the platform's public registries.

use std::fmt::Write as _;

/// An error a task may end with, as the platform's registries have it.
pub(super) struct TaskFailure {
    code: &'static str,
    message: &'static str,
    details: &'static str,
    exit_code: i64,
    system: &'static str,
    phase: &'static str,
    category: &'static str,
    key: &'static str,
    description: &'static str,
    /// The article's anchor; empty where the registry names no article.
    article: &'static str,
    can_user_fix: bool,
}

/// What the exporter says of most failures: the reason stands in the exit code, and the quotes hold nothing.
const BRIDGE_EXIT: &str = "Error exit code received from bridge wrapper. Details from wrapper: ''.";

/// What the exporter's failures have in common; the rest of each stands in its own entry.
const OF_EXPORTER: TaskFailure = TaskFailure {
    code: "TAE_BRW_1000",
    message: "Failed to orchestrate file processing.",
    details: BRIDGE_EXIT,
    exit_code: 0,
    system: "Exporter",
    phase: "",
    category: "",
    key: "",
    description: "",
    article: "",
    can_user_fix: false,
};

/// The first is [`super::plan::Habit::Broken`]'s and nobody else's.
pub(super) const FAILURES: [TaskFailure; 8] = [
    TaskFailure {
        details: "Error exit code received from bridge wrapper. Details from wrapper: 'Saved view was deleted'.",
        exit_code: -7014,
        phase: "initialization",
        category: "configuration",
        key: "SavedViewNotFound",
        description: "The saved view of this export was not found.",
        article: "EXP_004",
        can_user_fix: true,
        ..OF_EXPORTER
    },
    TaskFailure {
        exit_code: -7002,
        phase: "export_file",
        category: "other",
        key: "FailedToExport",
        description: "Failed to export your file.",
        ..OF_EXPORTER
    },
    TaskFailure {
        code: "TAE_BRG_1000",
        message: "Failed to process.",
        details: "",
        exit_code: 4_294_967_295,
        system: "cloud_orchestrator",
        phase: "internal_server_error",
        category: "other",
        key: "RunOrchestrationError",
        description: "An error occurred while the run was being orchestrated.",
        article: "",
        can_user_fix: false,
    },
    TaskFailure {
        exit_code: -7005,
        phase: "download_imodel",
        category: "download_imodel",
        key: "ExcessiveElements",
        description: "The requested export contained more than 1.5 million objects and the exporter is unable \
                      to export this iModel. Please try again using a saved view that has fewer elements.",
        article: "EXP_002",
        can_user_fix: true,
        ..OF_EXPORTER
    },
    TaskFailure {
        exit_code: -7004,
        phase: "download_imodel",
        category: "download_imodel",
        key: "FailedToDownloadImodel",
        description: "Error occurred while downloading iModel.",
        ..OF_EXPORTER
    },
    TaskFailure {
        exit_code: -7009,
        system: "exporter",
        phase: "transformation",
        category: "transformation",
        key: "ErrorInTransformation",
        description: "Error occurred in transformation (filtering).",
        ..OF_EXPORTER
    },
    TaskFailure {
        exit_code: -7011,
        phase: "upload_output_file",
        category: "upload_output_file",
        key: "ErrorInUploading",
        description: "Error occurred while uploading file.",
        ..OF_EXPORTER
    },
    TaskFailure {
        exit_code: -7007,
        phase: "initialization",
        category: "imodel_access",
        key: "NoReadPermission",
        description: "No read permission for given iModel",
        article: "EXP_003",
        can_user_fix: true,
        ..OF_EXPORTER
    },
];

/// The article all anchors are in.
const ARTICLE: &str =
    "https://bentleysystems.service-now.com/community?id=kb_article_view&sysparm_article=KB0041879";

impl TaskFailure {
    /// Writes `,"error":{...}`. The fields' texts are constants above, and none needs escaping.
    pub(super) fn push(&self, text: &mut String) {
        let TaskFailure {
            code, message, details, exit_code, system, phase, category, key, description, ..
        } = self;
        let _ = write!(
            text,
            ",\"error\":{{\"errorCode\":\"{code}\",\"message\":\"{message}\",\"details\":\"{details}\",\
             \"bridgeExitCode\":{exit_code},\"system\":\"{system}\",\"phase\":\"{phase}\",\
             \"category\":\"{category}\",\"descriptionKey\":\"{key}\",\"description\":\"{description}\",\
             \"kbArticleLink\":\""
        );
        if !self.article.is_empty() {
            let _ = write!(text, "{ARTICLE}#{}", self.article);
        }
        let _ = write!(text, "\",\"canUserFix\":{}}}", self.can_user_fix);
    }
}
