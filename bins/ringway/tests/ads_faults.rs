//! Management servers that come and go, and such that are slow: requests do not notice, and what is sent comes at last.

use crate::ads::{FORMS, by_ads, one_cluster, start};
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::resources::assignment;
use crate::common::wait_for;
use crate::common::xds::{Mood, Server};

/// A server of which no stream lives long: what came of each is kept, so that all of it comes.
#[test]
fn a_server_that_flaps_is_heard_out_in_the_end() {
    for form in FORMS {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let server = Server::start();
        server.feel(Mood::Flapping);
        one_cluster(&server, one.address);
        // Its first streams end before it has said all that a start needs.
        let proxy = start("poll", &by_ads(form, &server));
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "one", "{form}");
        assert!(server.connections() > 1, "{form}");
        for origin in [&two, &one, &two] {
            let before = server.connections();
            server.set("EDS", &[("c", assignment("c", origin.address))]);
            server.kill();
            let name = if origin.address == one.address { "one" } else { "two" };
            wait_for("the change", || {
                let answer = client.get("/name");
                assert_eq!(answer.status(), 200, "{form}");
                (answer.text() == name).then_some(())
            });
            server.connected(before + 1);
        }
        assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1, "{form}");
        assert_eq!(proxy.stat("cluster_manager.cds.update_rejected"), 0, "{form}");
        assert!(proxy.stat("cluster_manager.cds.update_failure") >= 3, "{form}");
        // Once it stays, so does the stream.
        server.feel(Mood::Serving);
        server.kill();
        proxy.wait_stat("control_plane.connected_state", |state| state == 1);
        assert_eq!(client.get("/name").text(), "two", "{form}");
    }
}

/// Guards the control thread: a message that comes byte by byte holds up nobody, and nothing of it counts before its last byte.
#[test]
fn a_server_that_trickles_holds_up_nobody() {
    on_each_driver(|io| {
        for form in FORMS {
            let (one, two) = (Origin::start("one"), Origin::start("two"));
            let server = Server::start();
            one_cluster(&server, one.address);
            let proxy = start(io, &by_ads(form, &server));
            let mut client = proxy.client();
            assert_eq!(client.get("/name").text(), "one", "{form}");
            let (taken, generation) = (proxy.stat("cluster.c.update_success"), proxy.stat("config.generation"));
            server.feel(Mood::Trickling);
            server.set("EDS", &[("c", assignment("c", two.address))]);
            server.asked("#1 EDS but for a byte", "");
            assert_eq!(client.get("/name").text(), "one", "{form}");
            assert_eq!(proxy.stat("cluster.c.update_success"), taken, "{form}");
            assert_eq!(proxy.stat("config.generation"), generation, "{form}");
            server.feel(Mood::Serving);
            wait_for("the change", || (client.get("/name").text() == "two").then_some(()));
            assert_eq!((server.connections(), proxy.stat("cluster.c.update_failure")), (1, 0), "{form}");
        }
    });
}
