// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
internal import SansIO

/// Owns one association of COpenSSL, and what has to live as long.
///
/// Its only user is the ``DTLSTransport`` or ``DTLSClient`` that made it, which cannot be copied: so it is never
/// shared.
final class Association: @unchecked Sendable {
  /// The shortest first timeout; OpenSSL takes less than 15 ms of remaining time for none.
  static let initialTimeoutMin = TimeDelta.milliseconds(50)
  /// The longest first timeout, RFC 6347's own.
  static let initialTimeoutMax = TimeDelta.seconds(1)
  /// The least that OpenSSL needs of a datagram.
  static let datagramByteCountMin = 256
  /// The longest record (RFC 6347 §4.3.1).
  static let datagramByteCountMax = 16_384
  /// Bytes that the length field of a received datagram can hold.
  static let receivedDatagramByteCountMax = 65_535

  let handle: OpaquePointer
  private let context: any AnyObject & Sendable
  private let certificate: DTLSCertificate?

  /// - Parameter context: owns `contextHandle`.
  init(
    context: any AnyObject & Sendable, contextHandle: OpaquePointer, certificate: DTLSCertificate?,
    role: DTLSRole, maximumDatagramByteCount: Int, initialTimeout: TimeDelta
  ) throws(DTLSError) {
    precondition(
      maximumDatagramByteCount >= Self.datagramByteCountMin, "OpenSSL needs datagrams of 256 bytes")
    let timeout = min(max(initialTimeout, Self.initialTimeoutMin), Self.initialTimeoutMax)
    let handle = co_dtls_new(
      contextHandle, certificate?.handle, role == .client ? 1 : 0,
      min(maximumDatagramByteCount, Self.datagramByteCountMax), UInt32(timeout.nanoseconds / 1000))
    guard let handle else { throw .unavailable }
    self.handle = handle
    self.context = context
    self.certificate = certificate
  }

  deinit { co_dtls_free(handle) }

  /// Adds a fingerprint that the peer's certificate may have. More than eight of one hash are passed over.
  func accept(_ fingerprint: CertificateFingerprint) {
    _ = co_dtls_accept_digest(
      handle, fingerprint.hashFunction.code, fingerprint.digest, fingerprint.digest.count)
  }

  // MARK: datagrams and messages

  /// Whether a datagram can be one of DTLS, 20 to 63 in its first byte (RFC 7983 §7), and the cause if it cannot.
  static func refusal(of datagram: RawSpan) -> DTLSDropCause? {
    guard let first = datagram.byte(at: 0), (20...63).contains(first) else { return .notDTLS }
    return datagram.byteCount <= receivedDatagramByteCountMax ? nil : .datagramTooLong
  }

  func receive(_ datagram: RawSpan, at now: Instant) -> co_dtls_state {
    datagram.withUnsafeBytes { co_dtls_receive(handle, $0.baseAddress, $0.count, now.nanoseconds) }
  }

  /// Encrypts a message; the association has to be connected.
  func send(_ message: RawSpan, at now: Instant) throws(DTLSError) {
    guard message.byteCount <= messageByteCountMax else { throw .messageTooLong }
    let result = message.withUnsafeBytes { co_dtls_write(handle, $0.baseAddress, $0.count, now.nanoseconds) }
    guard result == 1 else { throw .encryptionFailed }
  }

  /// Takes a datagram of a connected association and writes the message in it straight to `output`, which has room for as
  /// many bytes as the datagram has. Further messages go to the queue.
  func open(_ datagram: RawSpan, into output: inout OutputRawSpan, at now: Instant) -> co_dtls_state {
    precondition(output.freeCapacity >= datagram.byteCount, "lent memory is shorter than the datagram")
    var state = CO_DTLS_CONNECTED
    output.withUnsafeMutableBytes { memory, initializedCount in
      let free = UnsafeMutableRawBufferPointer(rebasing: memory[initializedCount...])
      var messageByteCount: Int64 = -1
      datagram.withUnsafeBytes {
        state = co_dtls_open(
          handle, $0.baseAddress, $0.count, free.assumingMemoryBound(to: UInt8.self).baseAddress,
          &messageByteCount, now.nanoseconds)
      }
      initializedCount += max(0, Int(messageByteCount))
    }
    return state
  }

  /// Encrypts a message to a datagram in lent memory; the association has to be connected.
  func seal(_ message: RawSpan, into output: inout OutputRawSpan, at now: Instant) throws(DTLSError) {
    guard message.byteCount <= messageByteCountMax else { throw .messageTooLong }
    var byteCount = 0
    output.withUnsafeMutableBytes { memory, initializedCount in
      let free = UnsafeMutableRawBufferPointer(rebasing: memory[initializedCount...])
      message.withUnsafeBytes {
        byteCount = co_dtls_seal(
          handle, $0.baseAddress, $0.count, free.assumingMemoryBound(to: UInt8.self).baseAddress, free.count,
          now.nanoseconds)
      }
      initializedCount += byteCount
    }
    guard byteCount > 0 else { throw .encryptionFailed }
  }

  var messageByteCountMax: Int { co_dtls_message_bytes_max(handle) }

  /// When OpenSSL wants to be called again.
  func deadline(at now: Instant) -> Instant? {
    let timeout = co_dtls_timeout(handle, now.nanoseconds)
    return timeout >= 0 ? now + TimeDelta(nanoseconds: timeout) : nil
  }

  /// The length of the oldest datagram to be sent.
  var nextDatagramByteCount: Int? {
    let count = co_dtls_output_bytes(handle)
    return count > 0 ? count : nil
  }

  /// The length of the oldest received message.
  var nextMessageByteCount: Int? {
    let count = co_dtls_readable_bytes(handle)
    return count >= 0 ? Int(count) : nil
  }

  func takeDatagram(into output: inout OutputRawSpan) -> Bool {
    guard let count = nextDatagramByteCount else { return false }
    precondition(output.freeCapacity >= count, "lent memory is shorter than a datagram")
    take(count, into: &output, by: co_dtls_take_output)
    return true
  }

  func takeMessage(into output: inout OutputRawSpan) -> Bool {
    guard let count = nextMessageByteCount else { return false }
    precondition(output.freeCapacity >= count, "lent memory is shorter than a message")
    take(count, into: &output, by: co_dtls_read)
    return true
  }

  private func take(
    _ count: Int, into output: inout OutputRawSpan,
    by function: (OpaquePointer?, UnsafeMutablePointer<UInt8>?) -> Void
  ) {
    output.withUnsafeMutableBytes { memory, initializedCount in
      let free = UnsafeMutableRawBufferPointer(rebasing: memory[initializedCount...])
      function(handle, free.assumingMemoryBound(to: UInt8.self).baseAddress)
      initializedCount += count
    }
  }

  var drops: DropCounters<DTLSDropCause> {
    var drops = DropCounters<DTLSDropCause>()
    drops[.outputQueueFull] = co_dtls_dropped_output(handle)
    drops[.applicationDataQueueFull] = co_dtls_dropped_messages(handle)
    return drops
  }

  // MARK: outcome

  /// OpenSSL's reason for a failure, a constant text.
  var failureReason: String { String(cString: co_dtls_failure_reason(handle)) }

  var failure: DTLSTransport.Failure {
    switch co_dtls_failure(handle) {
    case CO_FAILURE_FINGERPRINT: .fingerprintMismatch
    case CO_FAILURE_NO_PEER_CERTIFICATE: .noPeerCertificate
    case CO_FAILURE_NO_SRTP_PROFILE: .noCommonSRTPProfile
    default: .handshake(failureReason)
    }
  }

  /// What the finished handshake agreed on; `nil` if OpenSSL cannot tell.
  func connected(as role: DTLSRole) -> DTLSTransport.Connected? {
    var srtp: DTLSTransport.SRTPKeying?
    let profile = co_dtls_srtp_profile(handle)
    // No profile is fine here: the handshake failed before where one is needed.
    if profile != 0 {
      guard let keying = keying(ofProfile: profile) else { return nil }
      srtp = keying
    }
    var digest = [UInt8](repeating: 0, count: Int(CO_DIGEST_BYTES_MAX))
    let count = co_dtls_peer_digest(handle, CertificateFingerprint.HashFunction.sha256.code, &digest)
    let fingerprint = CertificateFingerprint(hashFunction: .sha256, digest: Array(digest.prefix(count)))
    guard let fingerprint else { return nil }
    return DTLSTransport.Connected(
      srtp: srtp, role: role,
      cipherSuite: String(cString: co_dtls_cipher_suite(handle)),
      version: String(co_dtls_version(handle), radix: 16, uppercase: true),
      remoteCertificateFingerprint: fingerprint)
  }

  private func keying(ofProfile profile: UInt16) -> DTLSTransport.SRTPKeying? {
    guard let byteCount = Self.keyingMaterialByteCount(ofProfile: profile) else { return nil }
    var material = [UInt8](repeating: 0, count: byteCount)
    guard co_dtls_export_srtp_keys(handle, &material, byteCount) == 1 else { return nil }
    return DTLSTransport.SRTPKeying(profile: profile, material: Secret(material))
  }

  /// Two keys and two salts (RFC 5764 §4.2): of 16 and 14 bytes for AES-CM (RFC 5764 §4.1.2), of 16 or 32 and 12 for
  /// AES-GCM (RFC 7714 §12).
  private static func keyingMaterialByteCount(ofProfile profile: UInt16) -> Int? {
    switch profile {
    case 0x0001: 2 * (16 + 14)
    case 0x0007: 2 * (16 + 12)
    case 0x0008: 2 * (32 + 12)
    default: nil
    }
  }
}
