-- wrk: sends the same request for ever. Arguments: METHOD BODY_FILE
function init(arguments)
    wrk.method = arguments[1]
    if wrk.method ~= "GET" then
        local file = assert(io.open(arguments[2], "rb"))
        wrk.body = file:read("*a")
        file:close()
    end
end
