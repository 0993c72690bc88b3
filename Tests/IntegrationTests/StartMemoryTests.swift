// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import TestSupport
import Testing

@Suite("Memory of the process after its start")
struct StartMemoryTests {
    @Test("is less by the code that only starting needed, and what is needed again comes back")
    func release() async throws {
        let upstream = try FakeServer.echo()
        defer { upstream.stop() }
        try await withGateway(GatewaySetup(upstream: upstream.port)) { gateway in
            #expect(try gateway.get("/public").status == 200)
            try await eventually("it has let go") { try gateway.process.peakMemory - gateway.process.memory > 5 << 20 }
            #expect(try gateway.get("/public").status == 200)
            #expect(try gateway.get("/orders").code == "token_missing")
        }
    }
}
