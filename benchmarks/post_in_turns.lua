-- wrk: sends the lines of a file as bodies, one after the other. Arguments: METHOD BODY_FILE
local requests, turn = {}, 0

function init(arguments)
    for line in io.lines(arguments[2]) do
        requests[#requests + 1] = wrk.format(arguments[1], nil, nil, line)
    end
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end
