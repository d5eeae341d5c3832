// SPDX-License-Identifier: Apache-2.0

internal import Crypto
public import SansIO

/// Credentials for a TURN server that carry the end of their time in the user name: `<expiry>:<identity>`.
///
/// Whoever knows the secret makes and checks them; nobody keeps a list. The password is
/// base64(HMAC-SHA256(secret, user name)).
public struct TURNCredentials: Sendable {
  /// Seconds since 1970, a colon, and who it is for.
  public let username: String
  /// The password that goes with the user name.
  public let password: Secret<String>

  /// Makes the credentials of an identity that end at a time, in seconds since 1970.
  public init(identity: String, expiry: Int64, secret: Secret<[UInt8]>) {
    username = "\(expiry):\(identity)"
    password = Self.password(for: username, secret: secret)
  }

  /// The password of a user name.
  static func password(for username: String, secret: Secret<[UInt8]>) -> Secret<String> {
    let code = HMAC<SHA256>.authenticationCode(
      for: Array(username.utf8), using: SymmetricKey(data: secret.unredacted))
    return Secret(Base64.text(of: Array(code)))
  }

  /// The two parts of a user name, or `nil` where it has another form.
  static func parts(of username: String) -> (expiry: Int64, identity: String)? {
    guard let colon = username.firstIndex(of: ":"), let expiry = Int64(username[..<colon]), expiry >= 0,
      username.first != "+"
    else { return nil }
    return (expiry, String(username[username.index(after: colon)...]))
  }
}

/// The nonces of a TURN server: a time and a code over time and source, so that the server keeps none (T2).
struct TURNNonces: Sendable {
  private let key: Secret<SymmetricKey>
  let lifetime: TimeDelta
  /// Digits of the time and of the code.
  private static let (timeDigitCount, codeDigitCount) = (8, 16)

  init(lifetime: TimeDelta, random: inout RandomSource) {
    key = Secret(SymmetricKey(data: random.bytes(32)))
    self.lifetime = lifetime
  }

  /// The nonce for a source at a time: 24 hexadecimal digits.
  func nonce(for source: TransportAddress, at now: Instant) -> [UInt8] {
    let seconds = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000_000)
    return nonce(for: source, seconds: seconds)
  }

  private func nonce(for source: TransportAddress, seconds: UInt32) -> [UInt8] {
    let text = [UInt8](writing: 32) { writer in
      writer.write(seconds)
      writer.write(source.ip.family.stunNumber)
      writer.write(source.ip.high)
      writer.write(source.ip.low)
      writer.write(source.port)
    }
    let code = HMAC<SHA256>.authenticationCode(for: text, using: key.unredacted).prefix(
      Self.codeDigitCount / 2)
    let time = (0..<4).map { UInt8(truncatingIfNeeded: seconds >> (24 - 8 * UInt32($0))) }
    let digits = Array("0123456789abcdef".utf8)
    return (time + code).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }

  /// Whether a nonce was made for this source within its lifetime.
  func isValid(_ nonce: [UInt8], for source: TransportAddress, at now: Instant) -> Bool {
    guard nonce.count == Self.timeDigitCount + Self.codeDigitCount,
      let text = String(validating: nonce.prefix(Self.timeDigitCount), as: UTF8.self),
      let seconds = UInt32(text, radix: 16)
    else { return false }
    let age = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000_000) &- seconds
    guard Int64(age) < lifetime.nanoseconds / 1_000_000_000 else { return false }
    return self.nonce(for: source, seconds: seconds).rawSpan.isEqualInConstantTime(to: nonce.rawSpan)
  }
}

/// Lets at most so many error answers a second go to one source address (T1), with memory that is fixed from the
/// start (T2): addresses share counters by a keyed hash.
struct TURNAnswerLimiter: Sendable {
  private struct Counter: Sendable {
    var second: Int64 = .min
    var count = 0
  }

  private var counters = [Counter](repeating: Counter(), count: TURNLimits.answerCountersCount)
  private let key: UInt64

  init(random: inout RandomSource) { key = random.next() }

  var counterCount: Int { counters.count }

  /// Whether one more answer may go to the address now; if so it counts. Of an IPv6 address the first 64 bits
  /// count: the rest is the host's to choose.
  mutating func allows(_ ip: IPAddress, at now: Instant) -> Bool {
    let index = Int(mixed(ip.family == .ipv4 ? ip.low : ip.high) % UInt64(counters.count))
    let second = now.nanoseconds / 1_000_000_000
    if counters[index].second != second { counters[index] = Counter(second: second) }
    guard counters[index].count < TURNLimits.errorAnswersPerSecondMax else { return false }
    counters[index].count += 1
    return true
  }

  /// A word that whoever does not know the key cannot aim (two rounds of a multiply-and-fold with a secret).
  private func mixed(_ word: UInt64) -> UInt64 {
    var result = word ^ key
    for _ in 0..<2 {
      let product = result.multipliedFullWidth(by: key | 1)
      result = product.high ^ product.low ^ key
    }
    return result
  }
}
