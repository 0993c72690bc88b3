-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Portcullis authors
--
-- wrk: the tokens of the file that is its first argument, one after the other, from the place that is its second one.
local requests, place = {}, 0
function init(arguments)
  for token in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, { ["Host"] = wrk.headers["Host"], ["Authorization"] = "Bearer " .. token })
  end
  place = tonumber(arguments[2])
end
function request()
  place = place % #requests + 1
  return requests[place]
end
