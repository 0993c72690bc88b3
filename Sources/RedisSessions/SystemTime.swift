// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import Glibc
import Sessions

/// The system's clock.
func systemMilliseconds() -> UnixMilliseconds {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UnixMilliseconds(time.tv_sec) * 1000 + UnixMilliseconds(time.tv_nsec) / 1_000_000
}
