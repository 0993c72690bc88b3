// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The keys of one issuer: immutable, shared by all event loops. A changed set is another value.
package struct KeySet: Sendable, Equatable {
    /// At least one.
    package let keys: [VerificationKey]
    /// One line for each key that was left out: its place, its `kid` and why; no key material.
    package let warnings: [String]
    private let fingerprint: [UInt8]

    /// Of a JWK Set (RFC 7517 §5). Keys that cannot be used are left out with a warning, as the RFC demands; a set in which none can
    /// be is an error. Two keys may share a `kid`: then all of them that fit are tried.
    ///
    /// - Parameter algorithms: those that the issuer may use; a key that fits none of them is left out.
    package init(jwks: [UInt8], algorithms: Set<JOSEAlgorithm> = Set(JOSEAlgorithm.allCases)) throws(KeyProblem) {
        let document: JSONValue
        do {
            document = try JSONValue(parsing: jwks)
        } catch {
            throw .notJSON
        }
        guard let entries = document.object?["keys"]?.array else { throw .notAKeySet }
        var keys: [VerificationKey] = []
        var warnings: [String] = []
        for (index, entry) in entries.enumerated() {
            guard keys.count < KeyLimit.keysInSet else {
                warnings.append("keys from \(index + 1) on: a set has at most \(KeyLimit.keysInSet)")
                break
            }
            do throws(KeyProblem) {
                guard let jwk = entry.object else { throw KeyProblem.damaged }
                keys.append(try JSONWebKey.verificationKey(jwk, algorithms: algorithms))
            } catch {
                warnings.append(KeySet.warning(index: index, keyID: entry.object?["kid"]?.string, problem: error))
            }
        }
        guard !keys.isEmpty else { throw .noUsableKey(of: entries.count) }
        self.init(keys: keys, warnings: warnings)
    }

    /// Of one public key (`PUBLIC KEY`, RFC 7468 §13, or PKCS#1 `RSA PUBLIC KEY`). It has no `kid`.
    package init(publicKeyPEM: [UInt8], algorithms: Set<JOSEAlgorithm> = Set(JOSEAlgorithm.allCases)) throws(KeyProblem) {
        let components = try PEM.publicKey(publicKeyPEM)
        self.init(keys: [try VerificationKey(components, keyID: nil, algorithms: algorithms)], warnings: [])
    }

    /// Of a secret of at least 32 bytes, for HS256, HS384 and HS512.
    package init(secret: [UInt8]) throws(KeyProblem) {
        self.init(keys: [try VerificationKey(secret: secret, keyID: nil, algorithms: Set(JOSEAlgorithm.allCases))], warnings: [])
    }

    /// Of the gateway's own keys: what the one signs now and the others have signed.
    package init(signingKeys: [SigningKey]) {
        self.init(keys: signingKeys.map(\.verificationKey), warnings: [])
    }

    private init(keys: [VerificationKey], warnings: [String]) {
        self.keys = keys
        self.warnings = warnings
        fingerprint = Digest.sha256(keys.flatMap(\.fingerprint))
    }

    /// Whether both have the same keys, however they were written.
    package static func == (left: KeySet, right: KeySet) -> Bool {
        left.fingerprint == right.fingerprint
    }

    /// A `kid` is the issuer's text: cut, and nothing of it can steer a terminal.
    private static func warning(index: Int, keyID: String?, problem: KeyProblem) -> String {
        guard let keyID else { return "key \(index + 1): \(problem)" }
        let shown = keyID.unicodeScalars.prefix(64).map { (" "..."~").contains($0) && $0 != "\"" ? Character($0) : "?" }
        return "key \(index + 1) (kid \"\(String(shown))\"): \(problem)"
    }
}
