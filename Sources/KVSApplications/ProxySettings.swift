// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SansIO

/// The HTTP proxy that the environment names, in the variables that other programs know.
enum ProxySettings {
  /// Reads `https_proxy`, `all_proxy` and `no_proxy`, in small or capital letters.
  ///
  /// - Throws: ``UsageError`` when they name a proxy that cannot be used: to pass it by might be forbidden.
  static func current(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws(UsageError) -> ProxyConfiguration {
    do {
      return try ProxyConfiguration(environment: environment)
    } catch {
      throw UsageError("https_proxy (or all_proxy) is not valid: expected http://host:port")
    }
  }
}
