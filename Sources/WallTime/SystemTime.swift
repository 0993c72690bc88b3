// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc

/// The system's clock: Unix time in milliseconds.
package func systemTime() -> Int64 {
    let time = systemClock()
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// The system's clock: Unix time in seconds, as the claims of tokens count it (RFC 7519 §2, NumericDate).
package func systemSeconds() -> Double {
    let time = systemClock()
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

private func systemClock() -> timespec {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return time
}
