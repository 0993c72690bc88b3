// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// One key that tokens can be verified with: parsed and checked once, and then used by all event loops.
package final class VerificationKey: Sendable {
    /// `kid`; nil for keys that came without a name.
    package let keyID: String?
    /// What the key fits and is meant for; never empty.
    let algorithms: AlgorithmSet
    private let material: KeyMaterial
    /// SHA-256 over what the key is, so that two sets can be compared without keeping what they were read from.
    let fingerprint: [UInt8]

    init(_ components: PublicKeyComponents, keyID: String?, algorithms: Set<JOSEAlgorithm>) throws(KeyProblem) {
        let fitting = algorithms.intersection(components.algorithms)
        guard !fitting.isEmpty else { throw .notListed }
        self.keyID = keyID
        self.algorithms = AlgorithmSet(fitting)
        material = try KeyMaterial(components)
        let content = JSONWriter.object { components.writeRequiredMembers(&$0) }
        fingerprint = VerificationKey.fingerprint(content, keyID, fitting)
    }

    init(secret: [UInt8], keyID: String?, algorithms: Set<JOSEAlgorithm>) throws(KeyProblem) {
        let fitting = algorithms.filter(\.isSymmetric)
        guard !fitting.isEmpty else { throw .notListed }
        guard secret.count >= KeyLimit.leastSecretBytes else { throw .shortSecret(bytes: secret.count) }
        guard let key = HMACKey(secret: secret) else { throw .failed }
        self.keyID = keyID
        self.algorithms = AlgorithmSet(fitting)
        material = .secret(key)
        fingerprint = VerificationKey.fingerprint(Digest.hmacSHA256(key: secret, Array("fingerprint".utf8)), keyID, fitting)
    }

    /// Whether the signature holds over these bytes with this algorithm, which must be one of `algorithms`.
    func isValid(_ signature: UnsafeRawBufferPointer, over input: UnsafeRawBufferPointer, algorithm: JOSEAlgorithm) -> Bool {
        algorithms.contains(algorithm) && material.isValid(signature, over: input, scheme: algorithm.scheme)
    }

    private static func fingerprint(_ content: [UInt8], _ keyID: String?, _ algorithms: Set<JOSEAlgorithm>) -> [UInt8] {
        Digest.sha256(
            JSONWriter.object { writer in
                writer.member("key", Base64URL.encode(content))
                writer.member("kid", keyID)
                writer.member("algorithms", algorithms.map(\.rawValue).sorted())
            })
    }
}
