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

        4. Alice logs out on her phone. The very same token is refused from now on (401), her laptop goes on:

            curl -s -w '%{http_code}\\n' -X POST \(url)/auth/logout -H "Authorization: Bearer $PHONE"
            \(ask("PHONE"))
            \(ask("LAPTOP"))

        5. She logs in again, and then out everywhere. None of her tokens works any more; Bob notices nothing:

            PHONE=\(login("alice", "wonderland", "phone"))
            curl -s -w ' %{http_code}\\n' -X POST \(url)/auth/logout-all -H "Authorization: Bearer $LAPTOP"
            \(ask("PHONE"))
            \(ask("LAPTOP"))
            \(ask("BOB"))

        6. What the gateway counted:

            curl -s http://127.0.0.1:\(adminPort)/metrics

        Lines of JSON below are the audit log: each login and logout as it happens.


        """
    }

    private func login(_ user: String, _ password: String, _ device: String) -> String {
        let body = #"{"username":"\#(user)","password":"\#(password)","device":"\#(device)"}"#
        return "$(curl -s \(url)/auth/login -H 'Content-Type: application/json' -d '\(body)' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')"
    }

    private func ask(_ name: String) -> String { "curl -s -w '%{http_code}\\n' \(url)/orders -H \"Authorization: Bearer $\(name)\"" }
}
