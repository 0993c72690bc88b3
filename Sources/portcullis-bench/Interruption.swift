// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Dispatch
import Glibc

/// Control-C.
enum Interruption {
    /// One element with the first SIGINT from now on. A second one ends the process, as usual.
    static func first() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        // The source hears it, and the default would end the process nevertheless.
        signal(SIGINT, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGINT)
        source.setEventHandler {
            signal(SIGINT, SIG_DFL)
            continuation.yield()
            source.cancel()
        }
        source.resume()
        return stream
    }
}
