// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// The numbers of a public key, wherever it was read. Everything that is checked of a key is checked here, so that no way in is
/// more lenient than another.
enum PublicKeyComponents: Equatable {
    /// Trimmed big-endian numbers.
    case rsa(modulus: [UInt8], exponent: [UInt8])
    /// Coordinates of the curve's size.
    case elliptic(EllipticCurve, x: [UInt8], y: [UInt8])
    /// RFC 8032 §5.1.5: 32 bytes.
    case ed25519([UInt8])

    /// Checks what OpenSSL does not.
    func validate() throws(KeyProblem) {
        switch self {
        case .rsa(let modulus, let exponent):
            let bits = BigNumber.bitCount(modulus)
            guard bits >= KeyLimit.leastRSABits else { throw .weakRSA(bits: bits) }
            guard bits <= KeyLimit.mostRSABits else { throw .hugeRSA(bits: bits) }
            // An even modulus has a known factor; with the exponent 1 every message signs itself.
            guard let lowest = modulus.last, lowest & 1 == 1, let low = exponent.last, low & 1 == 1, exponent != [1],
                exponent.count <= KeyLimit.mostRSAExponentBytes
            else { throw .badRSA }
        case .elliptic(let curve, let x, let y):
            guard x.count == curve.coordinateSize, y.count == curve.coordinateSize else { throw .badPoint }
        case .ed25519(let x):
            guard x.count == 32, !SmallOrderPoints.contain(x) else { throw .badPoint }
        }
    }

    /// All that the key could be used with.
    var algorithms: Set<JOSEAlgorithm> {
        switch self {
        case .rsa: [.rs256, .rs384, .rs512, .ps256, .ps384, .ps512]
        case .elliptic(let curve, _, _): [curve.algorithm]
        case .ed25519: [.eddsa]
        }
    }

    /// The required members of its JWK, in the order of the thumbprint (RFC 7638 §3.2: by name).
    func writeRequiredMembers(_ writer: inout JSONWriter) {
        switch self {
        case .rsa(let modulus, let exponent):
            writer.member("e", Base64URL.encode(exponent))
            writer.member("kty", "RSA")
            writer.member("n", Base64URL.encode(modulus))
        case .elliptic(let curve, let x, let y):
            writer.member("crv", curve.name)
            writer.member("kty", "EC")
            writer.member("x", Base64URL.encode(x))
            writer.member("y", Base64URL.encode(y))
        case .ed25519(let x):
            writer.member("crv", "Ed25519")
            writer.member("kty", "OKP")
            writer.member("x", Base64URL.encode(x))
        }
    }

    /// RFC 7638, with SHA-256: the key's name for those who have the key.
    var thumbprint: String {
        Base64URL.encode(Digest.sha256(JSONWriter.object { writeRequiredMembers(&$0) }))
    }
}

/// The encodings of Edwards points of order 8 or less. Under such a public key some signatures hold for every message.
private enum SmallOrderPoints {
    /// y-coordinates, little-endian; the sign bit of x does not matter. Also those not reduced mod 2^255-19.
    private static let table: [[UInt8]] = [
        [UInt8](repeating: 0, count: 32),
        [1] + [UInt8](repeating: 0, count: 31),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
        [0xec] + [UInt8](repeating: 0xff, count: 30) + [0x7f],
        [0xed] + [UInt8](repeating: 0xff, count: 30) + [0x7f],
        [0xee] + [UInt8](repeating: 0xff, count: 30) + [0x7f],
    ]

    static func contain(_ point: [UInt8]) -> Bool {
        guard let last = point.last else { return true }
        let withoutSign = point.dropLast() + [last & 0x7F]
        return table.contains { $0.elementsEqual(withoutSign) }
    }
}
