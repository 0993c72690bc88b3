// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Foundation

/// How often a test repeats what may go wrong by chance: `usual` times, or as often as `PORTCULLIS_ROUNDS` says.
package func rounds(_ usual: Int) -> Int {
    ProcessInfo.processInfo.environment["PORTCULLIS_ROUNDS"].flatMap { Int($0) } ?? usual
}
