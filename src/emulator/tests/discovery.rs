//! From an iTwin to the runs of its iModels' connections, of every kind.

use super::*;
use crate::api::Kind;

const V2: &str =
    "Authorization: Bearer t\r\nAccept: application/vnd.bentley.itwin-platform.v2+json, application/json\r\n";
const WHOLE: &str = "Authorization: Bearer t\r\nPrefer: return=representation\r\n";

fn get_with(emulator: &Emulator, target: &str, headers: &str) -> Seen {
    ask(emulator, "GET", target, headers, "").unwrap()
}

/// Follows `next` from `target` to the end; the ids of each page.
fn imodel_pages(emulator: &Emulator, target: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut target = Some(target.to_owned());
    while let Some(at) = target {
        let page = get_with(emulator, &at, V2);
        pages.push(page.ids_of("iModels"));
        target = page.next(emulator);
        assert!(pages.len() < 100, "endless");
    }
    pages
}

/// An iTwin `t` with iModels m0 to the last, and another, `u`, with one called `other`.
fn district(imodels: usize) -> Platform {
    let itwins = [("t".to_owned(), Itwin::new("T")), ("u".to_owned(), Itwin::new("U"))].into();
    let mut platform = Platform { itwins, ..Platform::default() };
    for number in 0..imodels {
        let name = format!("Model {number}");
        platform.imodels.insert(format!("m{number}"), Imodel::new("t", &name));
    }
    platform.imodels.insert("other".to_owned(), Imodel::new("u", "Other"));
    platform
}

/// iModel m0 with a connection of each kind, called by its kind's word, with the run r0.
fn three_kinds() -> Platform {
    let mut platform = district(2);
    for kind in Kind::ALL {
        let start = "2024-01-01T00:00:00Z";
        let run = match kind {
            Kind::Export => run(0),
            Kind::Storage => history::synchronization_run("r0", start, "Completed", "Error"),
            Kind::Manifest => history::manifest_run("r0", start, "Completed", "Success"),
        };
        let connection = Connection {
            kind,
            imodel_id: "m0".to_owned(),
            itwin_id: "t".to_owned(),
            ..Connection::new("C", [run].into_iter().collect())
        };
        platform.connections.insert(kind.as_str().to_owned(), connection);
    }
    platform
}

const PATHS: [(Kind, &str); 3] = [
    (Kind::Export, "/export/connections"),
    (Kind::Storage, "/synchronization/imodels/storageconnections"),
    (Kind::Manifest, "/synchronization/imodels/manifestconnections"),
];

#[test]
fn itwins_are_listed_to_their_end() {
    let mut platform = district(0);
    platform.itwins.insert("hidden".to_owned(), Itwin { unlisted: true, ..Itwin::new("H") });
    let emulator = Emulator::start(platform).unwrap();
    let all = get(&emulator, "/itwins/");
    assert_eq!(all.ids_of("iTwins"), ["t", "u"]);
    let first = &all.json()["iTwins"][0];
    let text = |name: &str| first[name].as_str().unwrap().to_owned();
    assert_eq!((text("class"), text("subClass")), ("Endeavor".to_owned(), "Project".to_owned()));
    assert_eq!((text("displayName"), text("status")), ("T".to_owned(), "Active".to_owned()));
    assert!(all.json()["_links"]["self"]["href"].is_string() && all.json()["_links"].get("next").is_none());
    let first = get(&emulator, "/itwins?$top=1");
    let next = first.next(&emulator).unwrap();
    assert_eq!(
        (first.ids_of("iTwins"), get(&emulator, &next).ids_of("iTwins")),
        (vec!["t".to_owned()], vec!["u".to_owned()])
    );
    let refused = get(&emulator, "/itwins?$top=1001");
    assert_eq!(refused.code(), (422, "InvalidiTwinsRequest".to_owned()));
    assert_eq!(refused.detail(), ("InvalidValue".to_owned(), "$top".to_owned()));
}

#[test]
fn an_imodel_added_between_two_pages_costs_none_of_the_others() {
    let emulator = Emulator::start(district(5)).unwrap();
    let first = get_with(&emulator, "/imodels?iTwinId=t&$top=2&$continuationToken=", V2);
    assert_eq!(first.ids_of("iModels"), ["m0", "m1"]);
    assert!(first.json()["_links"]["prev"].is_null());
    {
        let mut platform = emulator.platform();
        for id in ["m00", "m11", "m9"] {
            platform.imodels.insert(id.to_owned(), Imodel::new("t", "new"));
        }
        // The last one listed, which the token names.
        platform.imodels.remove("m1");
    }
    let rest = imodel_pages(&emulator, &first.next(&emulator).unwrap());
    assert_eq!(rest, [vec!["m11", "m2"], vec!["m3", "m4"], vec!["m9"]]);
    let last = get_with(&emulator, "/imodels/?iTwinId=u", V2).json();
    assert_eq!(last["iModels"], serde_json::json!([{ "id": "other", "displayName": "Other" }]));
    assert!(last["_links"].as_object().unwrap()["next"].is_null());
}

#[test]
fn imodels_are_told_in_full_to_those_who_prefer_it() {
    let emulator = Emulator::start(district(0)).unwrap();
    let headers = format!("{V2}Prefer: return=representation\r\n");
    let page = get_with(&emulator, "/imodels?iTwinId=u", &headers).json();
    let imodel = &page["iModels"][0];
    assert_eq!((&imodel["name"], &imodel["iTwinId"]), (&"Other".into(), &"u".into()));
    assert_eq!(imodel["state"], "initialized");
    assert!(imodel.as_object().unwrap().contains_key("description"));
}

#[test]
fn without_the_second_version_a_list_of_imodels_asks_for_a_project() {
    let emulator = Emulator::start(district(1)).unwrap();
    for headers in
        [TOKEN, "Authorization: Bearer t\r\nAccept: application/vnd.bentley.itwin-platform.v1+json\r\n"]
    {
        let refused = get_with(&emulator, "/imodels?iTwinId=t", headers);
        assert_eq!(refused.code(), (422, "InvalidiModelsRequest".to_owned()));
        assert_eq!(refused.detail(), ("MissingRequiredParameter".to_owned(), "projectId".to_owned()));
        assert_eq!(refused.header("x-itwinplatform-media-type"), Some("bentley.itwin-platform.v1"));
    }
}

#[test]
fn lists_of_imodels_are_refused_as_documented() {
    let emulator = Emulator::start(district(3)).unwrap();
    let token = get_with(&emulator, "/imodels?iTwinId=t&$top=1", V2).next(&emulator).unwrap();
    let token = token.split_once("$continuationToken=").unwrap().1;
    let twice_encoded = format!("iTwinId=t&$continuationToken={}", token.replace('%', "%25"));
    for (query, code, target) in [
        ("$top=5", "MissingRequiredParameter", "iTwinId"),
        ("iTwinId=t&$top=1001", "InvalidValue", "$top"),
        ("iTwinId=t&$continuationToken=x", "InvalidValue", "$continuationToken"),
        (&twice_encoded, "InvalidValue", "$continuationToken"),
    ] {
        let refused = get_with(&emulator, &format!("/imodels?{query}"), V2);
        assert_eq!(refused.code(), (422, "InvalidiModelsRequest".to_owned()), "{query}");
        assert_eq!(refused.detail(), (code.to_owned(), target.to_owned()), "{query}");
    }
    let unknown = get_with(&emulator, "/imodels?iTwinId=v", V2);
    assert_eq!(unknown.code(), (404, "iTwinNotFound".to_owned()));
    emulator.platform().itwins.get_mut("t").unwrap().status = Some(403);
    let forbidden = get_with(&emulator, "/imodels?iTwinId=t", V2);
    assert_eq!(forbidden.code(), (403, "InsufficientPermissions".to_owned()));
}

#[test]
fn an_imodel_without_permission_is_left_out_without_a_word() {
    let mut platform = district(3);
    platform.imodels.get_mut("m1").unwrap().unlisted = true;
    platform.imodels.get_mut("other").unwrap().unlisted = true;
    let emulator = Emulator::start(platform).unwrap();
    assert_eq!(imodel_pages(&emulator, "/imodels?iTwinId=t&$top=1"), [["m0"], ["m2"]]);
    assert_eq!(imodel_pages(&emulator, "/imodels?iTwinId=u"), [[""; 0]]);
}

#[test]
fn links_of_imodels_that_mislead_can_be_had() {
    let emulator = Emulator::start(district(5)).unwrap();
    let set = |faults: Faults| emulator.platform().faults = faults;
    set(Faults { imodel_page_cap: Some(2), bare_links: true, ..Faults::default() });
    let page = get_with(&emulator, "/imodels?iTwinId=t&$top=4", V2);
    assert_eq!(page.ids_of("iModels"), ["m0", "m1"]);
    let bare = page.next(&emulator).unwrap();
    assert!(
        bare.starts_with("/imodels?$continuationToken=")
            && !bare.contains("iTwinId")
            && !bare.contains("$top")
    );
    assert_eq!(get_with(&emulator, &bare, V2).detail().1, "iTwinId");
    let mended = get_with(&emulator, &format!("{bare}&iTwinId=t"), V2);
    assert_eq!(mended.ids_of("iModels"), ["m2", "m3"]);

    set(Faults { skip_paging: true, ..Faults::default() });
    let page = get_with(&emulator, "/imodels?iTwinId=t&$top=2", V2);
    assert_eq!(page.next(&emulator).unwrap(), "/imodels?iTwinId=t&$top=2&$skip=2");
    assert_eq!(
        imodel_pages(&emulator, "/imodels?iTwinId=t&$top=2"),
        [vec!["m0", "m1"], vec!["m2", "m3"], vec!["m4"]]
    );

    set(Faults { repeat_token: true, ..Faults::default() });
    let next = get_with(&emulator, "/imodels?iTwinId=t&$top=2", V2).next(&emulator).unwrap();
    for _ in 0..3 {
        let page = get_with(&emulator, &next, V2);
        assert_eq!(
            (page.ids_of("iModels"), page.next(&emulator)),
            (vec!["m2".to_owned(), "m3".to_owned()], Some(next.clone()))
        );
    }

    set(Faults { links: Links::Hostile("https://evil.example/".to_owned()), ..Faults::default() });
    let page = get_with(&emulator, "/imodels?iTwinId=t", V2).json();
    assert_eq!(page["_links"]["next"]["href"], "https://evil.example/");
}

#[test]
fn a_connection_is_found_under_the_path_of_its_kind_only() {
    let emulator = Emulator::start(three_kinds()).unwrap();
    for (kind, path) in PATHS {
        let list = get_with(&emulator, &format!("{path}?imodelId=m0"), WHOLE);
        assert_eq!(list.ids_of("connections"), [kind.as_str()]);
        assert!(get(&emulator, &format!("{path}?imodelId=m1")).ids_of("connections").is_empty());
        for held in Kind::ALL.map(Kind::as_str) {
            let one = get(&emulator, &format!("{path}/{held}"));
            let runs = get_with(&emulator, &format!("{path}/{held}/runs"), WHOLE);
            let run = get(&emulator, &format!("{path}/{held}/runs/r0"));
            if held == kind.as_str() {
                assert_eq!(one.json()["connection"], list.json()["connections"][0]);
                assert_eq!(
                    (runs.ids(), &run.json()["run"]),
                    (vec!["r0".to_owned()], &runs.json()["runs"][0])
                );
                let last_run = format!("{}{path}/{held}/runs/r0", emulator.url());
                assert_eq!(one.json()["connection"]["_links"]["lastRun"]["href"], last_run);
            } else {
                for refused in [one, runs, run] {
                    assert_eq!(refused.code(), (404, "ConnectionNotFound".to_owned()), "{path}/{held}");
                }
            }
        }
    }
    let otherwise = "/Synchronization/iModels/storageConnections/storage/Runs";
    assert_eq!(get(&emulator, otherwise).ids(), ["r0"]);
    assert_eq!(get(&emulator, "/Export/connections/export/runs").status, 404);
}

#[test]
fn lists_of_synchronization_are_minimal_unless_whole_ones_are_preferred() {
    let emulator = Emulator::start(three_kinds()).unwrap();
    let names = |item: &Value| item.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (kind, path) in PATHS {
        let list = format!("{path}/{}/runs", kind.as_str());
        let one = |headers: &str| get_with(&emulator, &list, headers).json()["runs"][0].clone();
        let connection = |headers: &str| {
            get_with(&emulator, &format!("{path}?imodelId=m0"), headers).json()["connections"][0].clone()
        };
        let stored = emulator.platform().connections[kind.as_str()].listing.newest().unwrap().json.clone();
        let stored: Value = serde_json::from_str(&stored).unwrap();
        assert_eq!(one(WHOLE), stored);
        if kind == Kind::Export {
            assert_eq!((one(TOKEN), connection(TOKEN)), (stored, connection(WHOLE)));
        } else {
            assert_eq!(names(&one(TOKEN)), ["id", "result", "state"]);
            assert_eq!(names(&connection(TOKEN)), ["displayName", "id"]);
            assert_eq!(connection(WHOLE)["iModelId"], "m0");
        }
        assert_eq!(get(&emulator, &format!("{list}/r0")).json()["run"], one(WHOLE));
    }
    emulator.platform().faults.minimal = true;
    let runs = get_with(&emulator, "/export/connections/export/runs", WHOLE).json();
    assert_eq!(names(&runs["runs"][0]), ["id", "result", "state"]);
}

#[test]
fn a_forbidden_imodel_lists_no_connections_but_is_listed() {
    let mut platform = three_kinds();
    platform.imodels.get_mut("m0").unwrap().status = Some(403);
    let emulator = Emulator::start(platform).unwrap();
    for (kind, path) in PATHS {
        let refused = get(&emulator, &format!("{path}?imodelId=m0"));
        assert_eq!(refused.code(), (403, "InsufficientPermissions".to_owned()));
        assert_eq!(get(&emulator, &format!("{path}/{}", kind.as_str())).status, 200);
    }
    assert_eq!(imodel_pages(&emulator, "/imodels?iTwinId=t"), [["m0", "m1"]]);
}

#[test]
fn one_kind_can_be_out_of_order_while_the_others_work() {
    let down = Scripted::always(On::Kind(Kind::Storage), Answer::Documented(503));
    let faults = Faults { script: vec![down], ..Faults::default() };
    let emulator = Emulator::start(Platform { faults, ..three_kinds() }).unwrap();
    for (kind, path) in PATHS {
        let word = kind.as_str();
        for rest in [
            "?imodelId=m0".to_owned(),
            format!("/{word}"),
            format!("/{word}/runs"),
            format!("/{word}/runs/r0"),
        ] {
            let expected = if kind == Kind::Storage { 503 } else { 200 };
            assert_eq!(get(&emulator, &format!("{path}{rest}")).status, expected, "{path}{rest}");
        }
    }
    emulator.platform().faults.script = vec![
        Scripted::once(On::ListItwins, Answer::Documented(500)),
        Scripted::once(On::ListImodels, Answer::Documented(502)),
        Scripted::once(On::ListConnections, Answer::Documented(504)),
    ];
    let lists = ["/itwins", "/imodels?iTwinId=t", "/export/connections?imodelId=m0"];
    let statuses = || lists.map(|list| get_with(&emulator, list, V2).status);
    assert_eq!((statuses(), statuses()), ([500, 502, 504], [200, 200, 200]));
}
