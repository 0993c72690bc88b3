// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What the demo prints: lines to paste into another terminal.
struct WalkThrough {
    let port: Int
    let adminPort: Int
    /// Where the sessions are, in words.
    let store: String

    private var url: String { "http://127.0.0.1:\(port)" }

    var text: String {
        """

        Portcullis stands in front of a sample service at \(url); sessions are kept \(store).
        Paste these lines into a second terminal (bash); Ctrl-C ends the demo.

        1. Without a session nobody is let in; what is public is public:

            curl -s -w '%{http_code}\\n' \(url)/orders
            curl -s -w '%{http_code}\\n' \(url)/public

        2. Alice logs in on her phone and on her laptop, Bob on his:

            PHONE=\(login("alice", "wonderland", "phone"))
            LAPTOP=\(login("alice", "wonderland", "laptop"))
            BOB=\(login("bob", "builder", "laptop"))

        3. All three are let in, and the service is told who they are:

            \(ask("PHONE"))
            \(ask("LAPTOP"))
            \(ask("BOB"))

        4. Alice looks where she is logged in; the laptop asks, so it is the "current" one:

            \(list("LAPTOP"))

        5. From that list she logs out her phone. The very same token is refused from now on (401), her laptop goes on:

            PHONE_SESSION=\(sessionOf("phone", askedBy: "LAPTOP"))
            curl -s -w '%{http_code}\\n' -X DELETE \(url)/auth/sessions/$PHONE_SESSION -H "Authorization: Bearer $LAPTOP"
            \(ask("PHONE"))
            \(ask("LAPTOP"))

        6. The list still has it, "revoked", with when and why:

            \(list("LAPTOP"))

        7. She logs in again on her phone, and logs out there: one logout ends one session.

            PHONE=\(login("alice", "wonderland", "phone"))
            curl -s -w '%{http_code}\\n' -X POST \(url)/auth/logout -H "Authorization: Bearer $PHONE"
            \(ask("PHONE"))

        8. And now everywhere. None of her tokens works any more; Bob notices nothing:

            PHONE=\(login("alice", "wonderland", "phone"))
            curl -s -w ' %{http_code}\\n' -X POST \(url)/auth/logout-all -H "Authorization: Bearer $LAPTOP"
            \(ask("PHONE"))
            \(ask("LAPTOP"))
            \(ask("BOB"))

        9. What the gateway counted, and what it can be asked (OpenAPI):

            curl -s http://127.0.0.1:\(adminPort)/metrics
            curl -s \(url)/auth/openapi.json

        Lines of JSON below are the audit log: each login and logout as it happens.


        """
    }

    private func login(_ user: String, _ password: String, _ device: String) -> String {
        let body = #"{"username":"\#(user)","password":"\#(password)","device":"\#(device)"}"#
        return "$(curl -s \(url)/auth/login -H 'Content-Type: application/json' -d '\(body)' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')"
    }

    /// A session in each line.
    private func list(_ name: String) -> String {
        "curl -s \(url)/auth/sessions -H \"Authorization: Bearer $\(name)\" | sed 's/},{/},\\n  {/g'; echo"
    }

    private func sessionOf(_ device: String, askedBy name: String) -> String {
        let asked = "curl -s \(url)/auth/sessions -H \"Authorization: Bearer $\(name)\""
        return "$(\(asked) | sed 's/},{/\\n/g' | sed -n '/\"device\":\"\(device)\"/s/.*\"session_id\":\"\\([^\"]*\\)\".*/\\1/p' | head -n 1)"
    }

    private func ask(_ name: String) -> String { "curl -s -w '%{http_code}\\n' \(url)/orders -H \"Authorization: Bearer $\(name)\"" }
}
