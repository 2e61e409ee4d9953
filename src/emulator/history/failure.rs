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

const BRIDGE_EXIT: &str = "Error exit code received from bridge wrapper. Details from wrapper: ''.";

/// The first is [`super::plan::Habit::Broken`]'s and nobody else's.
pub(super) const FAILURES: [TaskFailure; 8] = [
    TaskFailure {
        code: "TAE_BRW_1000",
        message: "Failed to orchestrate file processing.",
        details: "Error exit code received from bridge wrapper. Details from wrapper: 'Saved view was deleted'.",
        exit_code: -7014,
        system: "Exporter",
        phase: "initialization",
        category: "configuration",
        key: "SavedViewNotFound",
        description: "The saved view of this export was not found.",
        article: "EXP_004",
        can_user_fix: true,
    },
    TaskFailure {
        code: "TAE_BRW_1000",
        message: "Failed to orchestrate file processing.",
        details: BRIDGE_EXIT,
        exit_code: -7002,
        system: "Exporter",
        phase: "export_file",
        category: "other",
        key: "FailedToExport",
        description: "Failed to export your file.",
        article: "",
        can_user_fix: false,
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
        code: "TAE_BRW_1000",
        message: "Failed to orchestrate file processing.",
        details: BRIDGE_EXIT,
        exit_code: -7005,
        system: "Exporter",
        phase: "download_imodel",
        category: "download_imodel",
        key: "ExcessiveElements",
        description: "The requested export contained more than 1.5 million objects and the exporter is unable \
                      to export this iModel. Please try again using a saved view that has fewer elements.",
        article: "EXP_002",
        can_user_fix: true,
    },
    TaskFailure {
        code: "TAE_BRW_1000",
        message: "Failed to orchestrate file processing.",
        details: BRIDGE_EXIT,
        exit_code: -7004,
        system: "Exporter",
        phase: "download_imodel",
        category: "download_imodel",
        key: "FailedToDownloadImodel",
        description: "Error occurred while downloading iModel.",
        article: "",
        can_user_fix: false,
    },
    TaskFailure {
        code: "TAE_BRW_1000",
        message: "Failed to orchestrate file processing.",
        details: BRIDGE_EXIT,
        exit_code: -7009,
        system: "exporter",
        phase: "transformation",
        category: "transformation",
        key: "ErrorInTransformation",
        description: "Error occurred in transformation (filtering).",
        article: "",
        can_user_fix: false,
    },
    TaskFailure {
        code: "TAE_BRW_1000",
        message: "Failed to orchestrate file processing.",
        details: BRIDGE_EXIT,
        exit_code: -7011,
        system: "Exporter",
        phase: "upload_output_file",
        category: "upload_output_file",
        key: "ErrorInUploading",
        description: "Error occurred while uploading file.",
        article: "",
        can_user_fix: false,
    },
    TaskFailure {
        code: "TAE_BRW_1000",
        message: "Failed to orchestrate file processing.",
        details: BRIDGE_EXIT,
        exit_code: -7007,
        system: "Exporter",
        phase: "initialization",
        category: "imodel_access",
        key: "NoReadPermission",
        description: "No read permission for given iModel",
        article: "EXP_003",
        can_user_fix: true,
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
