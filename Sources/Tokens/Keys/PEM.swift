// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// One key in a PEM file (RFC 7468).
enum PEM {
    /// The numbers of a public key.
    static func publicKey(_ text: [UInt8]) throws(KeyProblem) -> PublicKeyComponents {
        let block = try onlyBlock(text)
        switch block.label {
        case "PUBLIC KEY", "RSA PUBLIC KEY": break
        case let label where label.hasSuffix("PRIVATE KEY"): throw .publicKeyNeeded
        case "CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE": throw .certificate
        default: throw .unsupported
        }
        let isPKCS1 = block.label == "RSA PUBLIC KEY"
        let key = block.content.withUnsafeBufferPointer { content -> OpaquePointer? in
            var position = content.baseAddress
            guard let key = isPKCS1 ? d2i_PublicKey(EVP_PKEY_RSA, nil, &position, content.count) : d2i_PUBKEY(nil, &position, content.count) else {
                return nil
            }
            guard position == content.baseAddress.map({ $0 + content.count }) else {
                EVP_PKEY_free(key)
                return nil
            }
            return key
        }
        ERR_clear_error()
        guard let key else { throw .damaged }
        return try components(of: KeyHandle(owning: key))
    }

    /// A private key in an unencrypted PKCS#8 block (RFC 5958, RFC 7468 §10).
    static func privateKey(_ text: [UInt8]) throws(KeyProblem) -> KeyHandle {
        let block = try onlyBlock(text)
        switch block.label {
        case "PRIVATE KEY": break
        case "ENCRYPTED PRIVATE KEY": throw .encrypted
        case let label where label.hasSuffix("PUBLIC KEY"): throw .privateKeyNeeded
        case let label where label.hasSuffix("PRIVATE KEY"): throw .notPKCS8
        default: throw .notPKCS8
        }
        let key = block.content.withUnsafeBufferPointer { content -> OpaquePointer? in
            var position = content.baseAddress
            guard let info = d2i_PKCS8_PRIV_KEY_INFO(nil, &position, content.count) else { return nil }
            defer { PKCS8_PRIV_KEY_INFO_free(info) }
            guard position == content.baseAddress.map({ $0 + content.count }) else { return nil }
            return EVP_PKCS82PKEY(info)
        }
        ERR_clear_error()
        guard let key else { throw .damaged }
        return KeyHandle(owning: key)
    }

    /// The key as an unencrypted PKCS#8 block.
    static func text(of key: KeyHandle) throws(KeyProblem) -> [UInt8] {
        guard let output = BIO_new(BIO_s_secmem()) else { throw .failed }
        defer { BIO_free(output) }
        guard PEM_write_bio_PKCS8PrivateKey(output, key.pointer, nil, nil, 0, nil, nil) == 1 else {
            ERR_clear_error()
            throw .failed
        }
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1024)
        while true {
            let count = BIO_read(output, &chunk, Int32(chunk.count))
            guard count > 0 else { return text }
            text.append(contentsOf: chunk[..<Int(count)])
        }
    }

    /// The public numbers of a key of a kind that we know.
    static func components(of key: KeyHandle) throws(KeyProblem) -> PublicKeyComponents {
        switch EVP_PKEY_get_base_id(key.pointer) {
        case EVP_PKEY_RSA:
            guard let modulus = BigNumber.parameter(OSSL_PKEY_PARAM_RSA_N, of: key),
                let exponent = BigNumber.parameter(OSSL_PKEY_PARAM_RSA_E, of: key)
            else { throw .damaged }
            return .rsa(modulus: modulus, exponent: exponent)
        case EVP_PKEY_EC:
            guard let curve = curve(of: key) else { throw .unsupported }
            guard let x = BigNumber.parameter(OSSL_PKEY_PARAM_EC_PUB_X, of: key, size: curve.coordinateSize),
                let y = BigNumber.parameter(OSSL_PKEY_PARAM_EC_PUB_Y, of: key, size: curve.coordinateSize)
            else { throw .damaged }
            return .elliptic(curve, x: x, y: y)
        case EVP_PKEY_ED25519:
            var bytes = [UInt8](repeating: 0, count: 32)
            var count = bytes.count
            guard EVP_PKEY_get_raw_public_key(key.pointer, &bytes, &count) == 1, count == bytes.count else { throw .damaged }
            return .ed25519(bytes)
        default:
            throw .unsupported
        }
    }

    private static func curve(of key: KeyHandle) -> EllipticCurve? {
        var name = [CChar](repeating: 0, count: 64)
        var size = 0
        guard EVP_PKEY_get_group_name(key.pointer, &name, name.count, &size) == 1, size < name.count else {
            ERR_clear_error()
            return nil
        }
        let group = String(decoding: name[..<size].map(UInt8.init(bitPattern:)), as: UTF8.self)
        return EllipticCurve.allCases.first { $0.groupName == group }
    }

    private struct Block {
        let label: String
        let content: [UInt8]
    }

    /// Text around the block is allowed (§2); a second block is not, because nobody could say which key was meant.
    private static func onlyBlock(_ text: [UInt8]) throws(KeyProblem) -> Block {
        guard let input = BIO_new_mem_buf(text, Int32(clamping: text.count)) else { throw .failed }
        defer { BIO_free(input) }
        guard let first = try nextBlock(input) else { throw .notPEM }
        guard try nextBlock(input) == nil else { throw .severalKeys }
        return first
    }

    private static func nextBlock(_ input: OpaquePointer) throws(KeyProblem) -> Block? {
        var (name, header): (UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>?)
        var data: UnsafeMutablePointer<UInt8>?
        var count = 0
        guard PEM_read_bio(input, &name, &header, &data, &count) == 1 else {
            ERR_clear_error()
            return nil
        }
        defer {
            portcullis_openssl_free(name)
            portcullis_openssl_free(header)
            portcullis_openssl_clear_free(data, count)
        }
        guard let name, let data else { throw .damaged }
        // RFC 1421's headers, which old private keys have when they are encrypted.
        if let header, header.pointee != 0 { throw .encrypted }
        return Block(label: String(cString: name), content: [UInt8](UnsafeBufferPointer(start: data, count: count)))
    }
}
