// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <resect/core/result.hpp>
#include <support/catch.hpp>

namespace support {

// Requires an error of this kind whose message contains every one of the texts.
template <class T>
void expect_error(const resect::result<T>& r, resect::errc code, std::initializer_list<std::string_view> texts) {
  REQUIRE_FALSE(r.has_value());
  const std::string message{r.error().message().view()};
  INFO("message: " << message);
  CHECK(r.error().code == code);
  for (const std::string_view text : texts) {
    INFO("looked for: " << text);
    CHECK(message.find(text) != std::string::npos);
  }
}

}  // namespace support
