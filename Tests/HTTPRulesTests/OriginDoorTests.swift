// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Testing

@Suite("Origins are judged alike by the data plane and the control plane")
struct OriginDoorTests {
    @Test(
        "An origin is the request's own at both doors, or at neither",
        arguments: [
            ("http://app.example", "app.example", false, true), ("https://app.example", "app.example", true, true),
            ("HTTPS://App.Example", "aPP.example", true, true), ("https://app.example:443", "app.example", true, true),
            ("https://app.example", "app.example:443", true, true), ("https://app.example:", "app.example", true, true),
            ("https://app.example", "app.example:", true, true), ("https://app.example:0443", "app.example", true, true),
            ("http://app.example:80", "app.example", false, true), ("https://app.example:8443", "app.example:8443", true, true),
            ("https://[2001:db8::1]", "[2001:DB8::1]", true, true), ("https://[::1]:443", "[::1]", true, true),
            ("https://127.0.0.1", "127.0.0.1", true, true), ("https://a%2Fb", "a%2fb", true, true),
            ("http://app.example", "app.example", true, false), ("https://app.example", "app.example", false, false),
            ("http://app.example:443", "app.example", true, false), ("https://app.example:80", "app.example", true, false),
            ("https://app.example:8443", "app.example", true, false), ("https://app.example", "app.example:8443", true, false),
            ("https://app.example.", "app.example", true, false), ("https://evil.example", "app.example", true, false),
            ("https://app.example.evil.example", "app.example", true, false), ("https://xapp.example", "app.example", true, false),
            ("https://app.example/", "app.example", true, false), ("https://app.example/x", "app.example", true, false),
            ("https://app.example?", "app.example", true, false), ("https://user@app.example", "app.example", true, false),
            ("https://app.example, https://app.example", "app.example", true, false),
            ("https://app.example https://app.example", "app.example", true, false), ("https://[::1", "[::1]", true, false),
            ("https:// app.example", "app.example", true, false), ("https:/app.example", "app.example", true, false),
            ("https//app.example", "app.example", true, false), ("://app.example", "app.example", true, false),
            ("app.example", "app.example", true, false),
            ("//app.example", "app.example", true, false), ("wss://app.example", "app.example", true, false),
            ("https://", "app.example", true, false),
            ("null", "app.example", true, false), ("", "app.example", true, false), ("https://äpp.example", "app.example", true, false),
        ])
    func origin(value: String, host: String, isSecure: Bool, isOwn: Bool) async throws {
        let doors = BothDoors(fields: [("Origin", value)], host: host)
        #expect(try doors.dataPlaneOrigin(isSecure: isSecure) == isOwn)
        #expect(try await doors.controlPlaneOrigin(isSecure: isSecure) == isOwn)
    }

    @Test("Two origins are nobody's, even of one spelling")
    func two() async throws {
        let doors = BothDoors(fields: [("Origin", "https://app.example"), ("Origin", "https://app.example")])
        #expect(try !doors.dataPlaneOrigin(isSecure: true))
        #expect(try await !doors.controlPlaneOrigin(isSecure: true))
    }
}
