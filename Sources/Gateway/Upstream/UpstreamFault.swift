// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// What went wrong between the gateway and an upstream. Tells the answer and whether another try is safe by itself.
enum UpstreamFault: UInt8 {
    /// No connection: refused, unreachable, unresolvable, or its TLS could not be verified. Nothing was sent.
    case refused
    /// No connection in time. Nothing was sent.
    case connectTimeout
    /// Every endpoint is at its limit of connections. Nothing was sent.
    case exhausted
    /// The connection ended before anything of an answer came.
    case reset
    /// The connection ended within the answer's head. What has come of it may have been acted on.
    case brokenHead
    /// No answer in time.
    case responseTimeout
    /// The answer is not HTTP as RFC 9112 has it.
    case malformed
}
